"""What a piece loses on its way to tokens, by cause, told by comparing it with what its tokens decode to.

Nothing here knows a tokenizer: what is gone is seen in the two scores (`cuts.py`: notes left out or cut), and what may
be done is said in `advised.py`.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from core.contracts.piece import Piece
from datatools.preparing.losses.advised import advice
from datatools.preparing.losses.cuts import Notes, in_time, shortened

__all__ = ["advice", "contents", "losses", "losses_of"]
_NONE = np.zeros(0, dtype=np.int64)
_ROUNDED = 4  # quarters a minute: a tempo is clipped that lies further beyond all that are told; half a step is less
_COMMON = (4, 4)  # the meter that holds where none is written


def losses_of(read: Piece, told: Piece) -> dict[str, int]:
    """What `losses` counts, and what only the text of ABC tells, the chord symbols, in marks."""
    found = losses(read.score, told.score)
    if symbols := _symbols(vars(read).get("abc", "")):  # made already where the piece was read from ABC
        with suppress(ValueError):  # it cannot be written in ABC, and its score holds none
            symbols -= _symbols(told.abc)
    return found | ({"symbols": symbols} if symbols > 0 else {})


def losses(read: symusic.Score, told: symusic.Score) -> dict[str, int]:
    """Notes, or marks, that are lost, by cause; a cause that costs nothing is left out."""
    before, after = _pitched(read), _pitched(told)
    tempos, told_tempos = _tempos(read), _tempos(told)
    meters = _meters(read, told, before["onset"])
    if tempos and not told_tempos:
        in_time(read, before, after)
    drums, told_drums = _drums(read), _drums(told)
    told_pitches = _among(before["pitch"], after["pitch"])
    pitches = int(np.count_nonzero(~told_pitches))
    programs = int(np.count_nonzero(~_among(before["program"], after["program"])))
    several = _several(before, read, told_drums > 0) and not _several(after, told)
    kept = before if not pitches else {key: column[told_pitches] for key, column in before.items()}
    found = {
        "drums": max(0, drums - told_drums),
        "programs": programs,
        "velocities": before["pitch"].size + (drums if told_drums else 0) if several else 0,
        "pitches": pitches,
        **shortened(kept, after, 1 / told.ticks_per_quarter, apart=not programs),
        "words": _fewer(_syllables, read, told),
        "tempos": max(0, tempos - told_tempos),
        "clipped": _clipped(read, told) if 0 < tempos <= told_tempos else 0,  # or which are lost is open
        "meters": meters,
        "pedals": _fewer(_pedals, read, told),
    }
    return {cause: count for cause, count in found.items() if count}


def contents(score: symusic.Score) -> tuple[bool, bool, bool]:
    """Whether a piece has instruments, loudness and tempos to lose: drums or more than a piano, several, another."""
    pitched = _pitched(score)
    return _drums(score) > 0 or bool(pitched["program"].any()), _several(pitched, score), _tempos(score) > 0


def _drums(score: symusic.Score) -> int:
    """Notes of drums."""
    return sum(len(track.notes) for track in score.tracks if track.is_drum)


def _pitched(score: symusic.Score) -> Notes:
    """Columns (n,) of all notes but drums; onsets and durations in quarters."""
    tracks = [track for track in score.tracks if not track.is_drum]
    columns = [track.notes.numpy() for track in tracks]
    pitch, velocity, duration, time = (
        columns[0][key] if len(columns) == 1 else np.concatenate([_NONE, *(column[key] for column in columns)])
        for key in ("pitch", "velocity", "duration", "time")
    )
    program = np.array([int(track.program) for track in tracks], dtype=np.int64)
    return {
        "pitch": pitch,
        "velocity": velocity,
        "onset": time / score.ticks_per_quarter,
        "quarters": duration / score.ticks_per_quarter,
        "program": program.repeat([len(column["time"]) for column in columns]),
    }


def _among(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the values of 0 to 127 before are among those after."""
    there = np.zeros(128, dtype=bool)
    there[after] = True
    found: NDArray[np.bool_] = there[before]
    return found


def _several(notes: Notes, score: symusic.Score, drums: bool = True) -> bool:
    """Whether the notes of a score, with its drums or without, are struck with several loudnesses."""
    levels = [notes["velocity"]]
    if drums:
        levels += [track.notes.numpy()["velocity"] for track in score.tracks if track.is_drum]
    level = np.concatenate(levels) if len(levels) > 1 else levels[0]
    return bool((level[1:] != level[:1]).any())


def _fewer(count: Callable[[symusic.Score], int], read: symusic.Score, told: symusic.Score) -> int:
    """How many fewer of something are told than were read."""
    there = count(read)
    return max(0, there - count(told)) if there else 0


def _syllables(score: symusic.Score) -> int:
    return sum(len(track.lyrics) for track in score.tracks)


def _symbols(abc: str) -> int:
    """Chord symbols, which alone stand in quotes in canonical ABC, fields aside."""
    return sum(line.count('"') // 2 for line in abc.splitlines() if line[1:2] != ":")


def _tempos(score: symusic.Score) -> int:
    """Marks that say something: another tempo than the one before, 120 quarters a minute at the beginning."""
    if len(score.tempos) == 1:  # as nearly all have
        return int(np.rint(6e7 / max(score.tempos[0].mspq, 1)) != 120)
    speeds = np.concatenate(([120], np.rint(6e7 / np.maximum(score.tempos.numpy()["mspq"], 1))))
    return int(np.count_nonzero(speeds[1:] != speeds[:-1]))


def _meters(read: symusic.Score, told: symusic.Score, onset: NDArray[Any]) -> int:
    """Marks that are not told, of those that something begins under: of a meter that never is, or more than are."""
    last = onset.max() * read.ticks_per_quarter if onset.size else read.end()
    marks = _meter_marks(read, last)
    if not marks:
        return 0
    others = _meter_marks(told, np.inf)
    return max(sum(mark not in (_COMMON, *others) for mark in marks), len(marks) - len(others))


def _meter_marks(score: symusic.Score, last: float) -> list[tuple[int, int]]:
    """The meters up to a tick that marks change to; 4/4 holds at the beginning, and of several at once the last."""
    marks = {mark.time: (mark.numerator, mark.denominator) for mark in score.time_signatures if mark.time <= last}
    meters = [_COMMON, *marks.values()]
    return [meter for before, meter in pairwise(meters) if meter != before]


def _pedals(score: symusic.Score) -> int:
    """Pedals of instruments with notes."""
    return sum(len(track.pedals) for track in score.tracks if not track.is_drum and len(track.notes))


def _clipped(read: symusic.Score, told: symusic.Score) -> int:
    """Marks slower or faster than any that is told, rounding aside."""
    speeds = [tempo.qpm for tempo in told.tempos]
    low, high = min(speeds) - _ROUNDED, max(speeds) + _ROUNDED
    return sum(not low <= tempo.qpm <= high for tempo in read.tempos)
