"""How many pitches sound at once, as MusPy defines it (Dong et al. 2020, arXiv 2008.01951), drums left out.

Shapes: t steps of the grid.
"""

from collections.abc import Callable

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.notes import Notes, sounding
from plugins.metrics.pitch import metric

THRESHOLD = 2


def polyphony(notes: Notes) -> float | None:
    """The mean number of pitches that sound, over the steps at which any does."""
    counts = sounding(notes)
    filled = np.count_nonzero(counts)
    return float(counts.sum()) / filled if filled else None


def polyphony_rate(notes: Notes) -> float | None:
    """The share of all steps at which more than 2 pitches sound."""
    counts = sounding(notes)
    return float(np.count_nonzero(counts > THRESHOLD)) / len(counts) if len(counts) else None


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("polyphony", metric(polyphony), unit="pitches", higher_is_better=None)
    register("polyphony_rate", metric(polyphony_rate), unit="share of steps", higher_is_better=None)
