"""How a piece comes back to what it said: the share of its melody that repeats, and how alike beats are at each lag.

Neither needs bars, so that pieces of any meter, and outputs that lost theirs, compare.
Shapes: b beats (quarters), t lags.
"""

from collections.abc import Callable

import numpy as np
import symusic

from plugins import hookimpl
from plugins.metrics.parts.embedding import melody
from plugins.metrics.parts.intervals import Result, by_halves, compared, split_half
from plugins.metrics.parts.notes import Floats, Integers, Notes, Scores, in_order, notes_of

RUN = 8  # steps (interval, time to the next note) that must come back together
LAGS = 64  # beats
MOST_BEATS = 2048  # of a piece that count


def repeated_share(score: "symusic.Score | None") -> float | None:
    """The share of runs of RUN melodic steps that occurred before in the piece, at whatever pitch.

    None for a piece with fewer steps.
    """
    onsets, pitches = melody(notes_of(score))
    steps = np.stack([np.diff(pitches), np.diff(onsets)], axis=1)
    if len(steps) < RUN:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(steps, RUN, axis=0).reshape(len(steps) - RUN + 1, -1)
    return 1.0 - len(np.unique(runs, axis=0)) / len(runs)


def lag_profile(notes: Notes) -> Floats:
    """How alike two beats are on average that lie 1 .. LAGS beats apart: (t,), NaN where the piece is too short.

    A beat is the set of its (place of onset, pitch); likeness is what two sets share over what either has, and pairs
    of two empty beats do not count. (The similarity of Museformer, arXiv 2210.10349, with beats for bars.)
    """
    result = np.full(LAGS, np.nan)
    beats = min(notes.length // notes.steps + 1, MOST_BEATS)
    chosen = notes.onset < beats * notes.steps
    keys = notes.onset[chosen] // notes.steps, notes.onset[chosen] % notes.steps * 128 + notes.pitch[chosen]
    present = np.zeros((beats, notes.steps * 128), dtype=bool)
    present[keys] = True
    present = present[:, present.any(axis=0)]
    sizes = present.sum(axis=1)
    for lag in range(1, min(LAGS, beats - 1) + 1):
        shared = (present[lag:] & present[:-lag]).sum(axis=1)
        either = sizes[lag:] + sizes[:-lag] - shared
        if either.any():
            result[lag - 1] = (shared[either > 0] / either[either > 0]).mean()
    return result


def profile_error(one: Floats, other: Floats) -> float:
    """The mean difference of two sets' mean profiles, over the lags that both have: (n t), (m t)."""
    both = np.isfinite(one).any(axis=0) & np.isfinite(other).any(axis=0)
    if not both.any():
        return 0.0
    return float(np.abs(np.nanmean(one[:, both], axis=0) - np.nanmean(other[:, both], axis=0)).mean())


def repetition(generated: Scores, reference: Scores) -> Result:
    """The mean share of runs of 8 melodic steps (interval, time to the next) that repeat earlier ones."""
    return compared(repeated_share, generated, reference)


def similarity_error(generated: Scores, reference: Scores) -> Result:
    """How far the generated pieces' mean likeness at lags of 1 to 64 beats is from the reference's."""
    mine, theirs = (_profiles(scores) for scores in (generated, reference))
    failures = len(generated) - len(mine)
    if not len(mine) or not len(theirs):
        return {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0, "failures": failures}
    value = profile_error(mine, theirs)

    def of_rows(rows: list[Integers]) -> float:
        return profile_error(mine[rows[0]], theirs[rows[1]])

    def of_halves(one: Integers, two: Integers) -> float:
        return profile_error(theirs[one], theirs[two])

    low, high = by_halves(of_rows, (len(mine), len(theirs)), value, least=0.0, most=1.0)
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": len(mine),
        "failures": failures,
        "floor": split_half(of_halves, len(theirs), part=len(mine)),
    }


def _profiles(scores: Scores) -> Floats:
    """Profiles (n t) of the pieces that are long enough to have one."""
    found = [lag_profile(notes_of(score)) for score in in_order(scores)]
    return np.array([profile for profile in found if np.isfinite(profile).any()]).reshape(-1, LAGS)


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("repetition", repetition, unit="share of runs", higher_is_better=None)
    register("similarity_error", similarity_error, unit="mean difference", higher_is_better=False)
