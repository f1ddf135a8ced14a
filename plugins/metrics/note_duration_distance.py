"""How far the note durations of a continuation are from those of its prompt, against the true continuation's."""

from collections.abc import Callable

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.distance_histograms import Distance, compare
from plugins.metrics.parts.intervals import Result
from plugins.metrics.parts.notes import Floats, Notes, Scores, histogram
from plugins.metrics.pitch_class_distance import relative_entropy, without

LONGEST = 64  # quarters; longer notes count as this


def durations(notes: Notes, measure: float = 0.0) -> Floats | None:
    """Numbers of notes of each duration in steps of the grid; every note of a chord counts."""
    most = LONGEST * notes.steps
    return histogram(np.minimum(notes.end - notes.onset, most), most + 1) if len(notes) else None


NOTE_DURATION = Distance(durations, relative_entropy, without)


def note_duration_distance(generated: Scores, reference: Scores, *, prompts: Scores | None = None) -> Result:
    """The divergence between the distances D(prompt || continuation) of generated and of real continuations."""
    return compare(NOTE_DURATION, generated, reference, prompts)


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("note_duration_distance", note_duration_distance, unit="nats", higher_is_better=False)
