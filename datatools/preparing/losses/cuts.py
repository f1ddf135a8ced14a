"""Notes that are left out or cut on the way to tokens, by comparing columns of those before with those after.

Shapes: n notes. Columns (n,): pitch, program, onset and quarters, the last two in quarters.
"""

from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

Notes = dict[str, NDArray[Any]]
_LONGER = 1.05  # a note is cut that lasts longer than the longest that is told, rounding aside:
_ROUNDING = 1 / 24  # quarters, or a tick of what is told where that is more
_LOOKS = 32  # notes by which is seen what a tokenizer's time is


def in_time(read: symusic.Score, before: Notes, after: Notes) -> None:
    """Puts what was read, in place, into quarters of 120 a minute where that is what is told: its seconds.

    Tokens without tempos count quarters or seconds; what is told lies nearer to the one or to the other.
    """
    if not after["onset"].size or not before["onset"].size:
        return
    looks = np.linspace(0, after["onset"].size - 1, _LOOKS).astype(np.int64)
    told = np.concatenate((after["onset"][looks], after["onset"][looks] + after["quarters"][looks]))
    quarters = np.sort(np.concatenate((before["onset"], before["onset"] + before["quarters"])))
    if _distance(told, _seconds(read, quarters)) < _distance(told, quarters) - 1e-9:
        end = _seconds(read, before["onset"] + before["quarters"])
        before["onset"] = _seconds(read, before["onset"])
        before["quarters"] = end - before["onset"]


def _distance(told: NDArray[Any], times: NDArray[Any]) -> float:
    """The sum of how far those told are from the nearest of rising times."""
    at = times.searchsorted(told).clip(1, times.size - 1)
    return float(np.minimum(abs(told - times[at]), abs(told - times[at - 1])).sum())


def _seconds(score: symusic.Score, times: NDArray[Any]) -> NDArray[Any]:
    """Half seconds, quarters of 120 a minute, at which times (n,) in quarters come."""
    marks = score.tempos.numpy()
    starts = np.concatenate(([0.0], marks["time"] / score.ticks_per_quarter))
    paces = np.concatenate(([1.0], marks["mspq"] / 5e5))
    passed = np.concatenate(([0.0], np.cumsum(np.diff(starts) * paces[:-1])))
    index = starts.searchsorted(times, side="right") - 1
    found: NDArray[Any] = passed[index] + (times - starts[index]) * paces[index]
    return found


def shortened(before: Notes, after: Notes, tick: float, apart: bool) -> dict[str, int]:
    """Notes left out, and notes cut, that have a pitch which is told; each instrument by itself if `apart`.

    Of those left out some begin with another of their pitch, some follow one sooner than any that is told does. A note
    is cut that lasts longer than the longest told does, or beyond the next of its pitch as none that is told does.
    """
    lost = max(0, before["pitch"].size - after["pitch"].size)
    onset, quarters, gap = _in_turn(before, apart)
    margin = max(tick, _ROUNDING)
    longest = after["quarters"].max(initial=0.0)
    long = np.minimum(quarters, gap) > max(_LONGER * longest, longest + margin + 1e-6)
    over = quarters > gap + margin
    unisons = repeats = overlaps = 0
    if lost or over.any():
        _, told, told_gap = _in_turn(after, apart)
        soonest = told_gap[told_gap > 0].min(initial=np.inf)
        exact = (1 - 1e-6) * soonest
        if lost:
            unisons = min(lost, int(np.count_nonzero(gap == 0)))
            repeats = min(lost - unisons, int(np.count_nonzero((gap > 0) & (gap < exact))))
        if lost > unisons + repeats:  # what is left out behind all that is told is not cut as well
            within = onset <= after["onset"].max(initial=0.0) + margin
            long, over = long & within, over & within
        over &= gap >= (exact if lost else soonest / 2)
        overlaps = int(np.count_nonzero(over)) - int(np.count_nonzero(told > told_gap + 1e-6))
    return {
        "unisons": unisons,
        "repeats": repeats,
        "others": lost - unisons - repeats,
        "durations": int(np.count_nonzero(long)),
        "overlaps": max(0, overlaps),
    }


def _in_turn(notes: Notes, apart: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Onset and duration (n,) of notes by key and onset, and the quarters to the next of their key, inf of the last."""
    key = notes["pitch"] + 128 * notes["program"] if apart else notes["pitch"].astype(np.int64)
    code = (key << 42) + (notes["onset"] * 2**20).astype(np.int64)  # sorted in a fifth of the time of lexsort
    order = code.argsort()
    onset, key = notes["onset"][order], key[order]
    gap = np.full(onset.size, np.inf)
    gap[:-1] = np.where(key[1:] == key[:-1], onset[1:] - onset[:-1], np.inf)
    return onset, notes["quarters"][order], gap
