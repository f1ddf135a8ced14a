"""Whether outputs are music at all: the shares that decode to a usable score, and that hold no note."""

from collections.abc import Callable

import symusic

from plugins import hookimpl
from plugins.metrics.parts.intervals import Result, compared
from plugins.metrics.parts.notes import Scores


def usable(score: "symusic.Score | None") -> float:
    """1 when the output decoded to a score that the hub would read again, with notes or without; else 0."""
    from datatools.reading.canonical import canonical

    if score is None:
        return 0.0
    if is_empty(score):
        return 1.0
    try:
        canonical(score)
    except ValueError:
        return 0.0
    return 1.0


def is_empty(score: "symusic.Score | None") -> float | None:
    """1 for a score without a note, drums included; None for an output that did not decode."""
    if score is None:
        return None
    return float(not any(len(track.notes) for track in score.tracks))


def decodability(generated: Scores, reference: Scores) -> Result:
    """The share of outputs that decoded to a usable score; an undecodable one counts as 0 and is no failure."""
    return compared(usable, generated, reference)


def empty_share(generated: Scores, reference: Scores) -> Result:
    """The share of decoded outputs that hold no note; outputs that did not decode are failures."""
    return compared(is_empty, generated, reference)


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("decodability", decodability, unit="share of pieces", higher_is_better=True)
    register("empty_share", empty_share, unit="share of pieces", higher_is_better=False)
