"""How time is filled: groove and emptiness as MusPy defines them (Dong et al. 2020, arXiv 2008.01951), with drums."""

from collections.abc import Callable

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.notes import COMMON_TIME, Integers, Notes
from plugins.metrics.pitch import metric


def groove_consistency(notes: Notes, measure: float = COMMON_TIME) -> float | None:
    """1 - mean Hamming distance of the onset patterns of neighboring measures, over the steps of a measure.

    There are end // measure + 1 measures, so that a last partial, or even empty, one counts. Depends on the grid:
    compare only figures of one resolution. As in published tables, a measure is 4 quarters whatever the meter. None
    with a single measure.
    """
    size = round(measure * notes.steps)
    measures = notes.length // size + 1
    if not len(notes) or measures < 2:
        return None
    onsets = np.zeros(measures * size, dtype=bool)
    onsets[notes.onset] = True
    patterns = onsets.reshape(measures, size)
    return 1.0 - float(np.count_nonzero(patterns[:-1] != patterns[1:])) / (size * (measures - 1))


def empty_beat_rate(notes: Notes) -> float | None:
    """The share of beats (quarters) without a sounding note; a note that ends on a beat fills that beat too."""
    return _empty(notes, notes.steps)


def empty_measure_rate(notes: Notes, measure: float = COMMON_TIME) -> float | None:
    """The share of measures of 4 quarters without a sounding note, counted as the beats are."""
    return _empty(notes, round(measure * notes.steps))


def _empty(notes: Notes, size: int) -> float | None:
    if not len(notes):
        return None
    spans = notes.length // size + 1
    change: Integers = np.zeros(spans + 1, dtype=np.int64)
    np.add.at(change, notes.onset // size, 1)
    np.add.at(change, notes.end // size + 1, -1)
    return float(np.count_nonzero(np.cumsum(change)[:-1] == 0)) / spans


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("groove_consistency", metric(groove_consistency, drums=None), unit="share of steps", higher_is_better=None)
    register("empty_beat_rate", metric(empty_beat_rate, drums=None), unit="share of beats", higher_is_better=None)
    register(
        "empty_measure_rate", metric(empty_measure_rate, drums=None), unit="share of measures", higher_is_better=None
    )
