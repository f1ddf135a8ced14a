"""How far the pitch classes of a continuation are from those of its prompt, against the true continuation's."""

from collections.abc import Callable, Sequence

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.distance_histograms import Distance, compare
from plugins.metrics.parts.intervals import Result
from plugins.metrics.parts.notes import Floats, Notes, Scores, histogram

SMALL = 1e-6


def relative_entropy(one: Floats, other: Floats) -> float:
    """D(p || q) in nats of two lists of counts, over the entries that either has, each with SMALL added.

    The sums are brought to 1 afterwards: never below 0, and 0 for equal lists.
    """
    present = (one + other) > 0
    p, q = ((counts[present] + SMALL) / (counts[present] + SMALL).sum() for counts in (one, other))
    return max(float((p * np.log(p / q)).sum()), 0.0)


def without(counts: Sequence[Floats]) -> Callable[[int | None], Floats]:
    """The sum of all counts but those at a position."""
    total = np.sum(counts, axis=0)
    return lambda place: total if place is None else total - counts[place]


def pitch_classes(notes: Notes, measure: float = 0.0) -> Floats | None:
    """Numbers of notes (12,) in the pitch classes, from MIDI numbers: spelling plays no part."""
    return histogram(notes.pitch % 12, 12) if len(notes) else None


PITCH_CLASS = Distance(pitch_classes, relative_entropy, without)


def pitch_class_distance(generated: Scores, reference: Scores, *, prompts: Scores | None = None) -> Result:
    """The divergence between the distances D(prompt || continuation) of generated and of real continuations."""
    return compare(PITCH_CLASS, generated, reference, prompts)


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("pitch_class_distance", pitch_class_distance, unit="nats", higher_is_better=False)
