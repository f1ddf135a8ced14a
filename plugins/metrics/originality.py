"""How much of a piece is copied from the training pieces, and whether that is more than people copy from each other.

A piece is its melody (the highest note of each onset) in steps of (interval, time to the next note), so that a copy is
found at any pitch and in any texture below it. What is measured is the longest run of steps that some training piece
holds too. The baseline is what human pieces share: training pieces with training pieces of other works, and reference
pieces with training pieces, each in an excerpt as long as the generated piece, since longer music shares longer runs by
chance. (Compare Yin et al. 2022, doi 10.1007/s10994-022-06187-6.)
Shapes: s steps of a piece.
"""

from collections.abc import Callable

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.copies import Corpus, melody_of, report, works
from plugins.metrics.parts.intervals import Result, summary
from plugins.metrics.parts.notes import Scores


def originality(generated: Scores, reference: Scores, *, training: Scores) -> Result:
    """The mean share of a piece that lies outside its longest copied run; `human` has the same for people.

    `flagged` is the share of pieces that copied more than people do. `pieces` tells, for each generated piece in the
    order given, the run's place and length, the training piece (its number in `training`) and the percentile; times
    are in quarters.
    """
    asked, known, held = ([melody_of(score) for score in scores] for scores in (generated, reference, training))
    corpus = Corpus(asked, known, held, works(training))
    pieces = [report(corpus, number) for number in range(len(generated))]
    told = [piece for piece in pieces if piece is not None]
    human = [value for piece in told for value in (1.0 - corpus.baseline(piece["steps"]) / piece["steps"]).clip(0)]
    return {
        **summary(None if piece is None else 1.0 - piece["run"] / piece["steps"] for piece in pieces),
        "flagged": summary(float(piece["flagged"]) for piece in told),
        "longest_run": summary(float(piece["run"]) for piece in told),
        "percentile": summary(piece["percentile"] for piece in told),
        "human": {"value": float(np.mean(np.sort(human))) if human else 0.0, "n": len(corpus.humans)},
        "pieces": pieces,
    }


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("originality", originality, unit="share of the piece", higher_is_better=None, apart=True)
