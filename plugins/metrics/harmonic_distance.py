"""How far the harmony of a continuation is from that of its prompt, against the true continuation's.

Pieces are reduced to one chord word a measure; a piece is the mean vector of its words; a distance is 1 - cosine. The
values are of this hub's own reduction and vectors and do not compare with other implementations.
"""

from collections.abc import Callable, Sequence

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts import word_vectors
from plugins.metrics.parts.distance_histograms import Distance, compare
from plugins.metrics.parts.harmony import reduction
from plugins.metrics.parts.intervals import Result
from plugins.metrics.parts.notes import Floats, Notes, Scores, in_order, measure_of, notes_of


def one_minus_cosine(one: Floats, other: Floats) -> float:
    """From 0 for vectors of one direction to 2 for opposite ones."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return 1.0 - min(max(float(one @ other) / lengths, -1.0), 1.0) if lengths else 1.0


def mean_without(vectors: Sequence[Floats]) -> Callable[[int | None], Floats]:
    """The mean of all vectors but the one at a position."""
    total = np.sum(vectors, axis=0)
    return lambda place: total if place is None else total - vectors[place]  # a cosine does not see the length


def harmonic_distance(
    generated: Scores, reference: Scores, *, training: Scores, prompts: Scores | None = None
) -> Result:
    """The divergence between the distances 1 - cos(prompt, continuation) of generated and of real continuations.

    The vectors are learned from `training` alone; words that it has not are left out and counted.
    """
    vectors = word_vectors.learn([reduction(notes_of(score), measure_of(score)) for score in in_order(training)])

    def represent(notes: Notes, measure: float) -> Floats | None:
        return vectors.mean(reduction(notes, measure))

    words = [word for score in generated for word in reduction(notes_of(score), measure_of(score))]
    return {
        **compare(Distance(represent, one_minus_cosine, mean_without), generated, reference, prompts),
        "words": len(words),
        "unknown_words": vectors.unknown(words),
        "vectors": {"trained_on": vectors.pieces, "words": len(vectors.words), "digest": vectors.digest},
    }


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("harmonic_distance", harmonic_distance, unit="nats", higher_is_better=False)
