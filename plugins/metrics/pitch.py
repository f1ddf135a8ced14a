"""Which pitches a piece uses: six measures as MusPy defines them (Dong et al. 2020, arXiv 2008.01951), drums left out.

Shapes: n notes.
"""

from collections.abc import Callable

import numpy as np
import symusic

from plugins import hookimpl
from plugins.metrics.parts.intervals import Result, compared
from plugins.metrics.parts.notes import Floats, Notes, Scores, histogram, notes_of

_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=np.float64)  # C D E F G A B
_SCALES = np.stack([np.roll(_MAJOR, root) for root in range(12)])  # (root, pitch class)


def entropy_bits(counts: Floats) -> float | None:
    """Shannon entropy of counts in bits; None when there are none."""
    if not counts.sum():
        return None
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log2(shares)).sum()))


def pitch_class_entropy(notes: Notes) -> float | None:
    """Entropy in bits of the numbers of notes in the 12 pitch classes, at most log2 12 = 3.585."""
    return entropy_bits(histogram(notes.pitch % 12, 12))


def pitch_entropy(notes: Notes) -> float | None:
    """Entropy in bits of the numbers of notes on the 128 pitches, at most 7."""
    return entropy_bits(histogram(notes.pitch, 128))


def scale_consistency(notes: Notes) -> float | None:
    """The largest share of notes in one scale; a natural minor scale has the notes of its relative major."""
    if not len(notes):
        return None
    return float((_SCALES @ histogram(notes.pitch % 12, 12)).max()) / len(notes)


def pitch_range(notes: Notes) -> float:
    """Semitones from the lowest to the highest note; 0 without notes."""
    return float(np.ptp(notes.pitch)) if len(notes) else 0.0


def pitches_used(notes: Notes) -> float:
    """How many different pitches occur."""
    return float(len(np.unique(notes.pitch)))


def pitch_classes_used(notes: Notes) -> float:
    """How many different pitch classes occur."""
    return float(len(np.unique(notes.pitch % 12)))


def metric(measure: Callable[[Notes], float | None], *, drums: bool | None = False) -> Callable[..., Result]:
    """Makes a metric of a measure of one piece's notes."""

    def function(generated: Scores, reference: Scores) -> Result:
        def value(score: "symusic.Score | None") -> float | None:
            notes = notes_of(score, drums=drums)
            # The library gives no number, or a perfect or worst one, for a piece without notes: a failure here.
            return measure(notes) if len(notes) else None

        return compared(value, generated, reference)

    function.__doc__ = measure.__doc__
    function.__name__ = measure.__name__
    return function


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    for name, measure, unit in (
        ("pitch_class_entropy", pitch_class_entropy, "bits"),
        ("pitch_entropy", pitch_entropy, "bits"),
        ("scale_consistency", scale_consistency, "share of notes"),
        ("pitch_range", pitch_range, "semitones"),
        ("n_pitches_used", pitches_used, "pitches"),
        ("n_pitch_classes_used", pitch_classes_used, "pitch classes"),
    ):
        first = measure is pitch_class_entropy
        register(name, metric(measure), unit=unit, higher_is_better=None, headline=first)
