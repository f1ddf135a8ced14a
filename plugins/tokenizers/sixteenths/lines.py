"""A melodic line, and drums, on a grid of sixteenths: a symbol a step, and back.

A line's symbols are the 128 pitches struck, HOLD (nothing new: what sounds goes on) and OFF; drums have the sum of
2^class over the nine classes struck together. Shapes: n notes, s steps.
"""

from typing import Any, Literal

import numpy as np
import symusic
from numpy.typing import NDArray

Array = NDArray[Any]
Choice = Literal["refuse", "highest", "lowest"]
HOLD, OFF = 128, 129
SYMBOLS = 130
STEPS = 4  # in a quarter
BAR = 16  # steps; without meters each bar is one of 4/4
_TICKS = 120  # of a step
_VELOCITY, _TEMPO = 80, 120.0
# Classes of drums by pitch: bass drum, snare, closed and open hi-hat, toms low to high, crash, ride (as in Magenta).
DRUMS = (
    (36, 35),
    (38, 27, 28, 31, 32, 33, 34, 37, 39, 40, 56, 65, 66, 75, 85),
    (42, 44, 54, 68, 69, 70, 71, 73, 78, 80, 22),
    (46, 67, 72, 74, 79, 81, 26),
    (45, 29, 41, 43, 61, 64, 84),
    (48, 47, 60, 63, 77, 86, 87),
    (50, 30, 62, 76, 83),
    (49, 52, 55, 57, 58),
    (51, 53, 59, 82),
)
PATTERNS = 2 ** len(DRUMS)
_CLASS = {pitch: number for number, pitches in enumerate(DRUMS) for pitch in pitches}


def steps(score: symusic.Score, tracks: list[Any]) -> tuple[Array, Array, Array, Array]:
    """First step, step behind the last, and pitch (n,) of the notes of some tracks, by step and pitch; and whether each
    sounds together with the one behind it, before both are put on steps."""
    quarter = int(score.ticks_per_quarter)
    columns = [track.notes.numpy() for track in tracks]
    time, duration, pitch = (
        np.concatenate([np.empty(0, np.int64), *(notes[key] for notes in columns)]).astype(np.int64)
        for key in ("time", "duration", "pitch")
    )
    start = (2 * STEPS * time + quarter) // (2 * quarter)  # halves go up
    end = np.maximum((2 * STEPS * (time + duration) + quarter) // (2 * quarter), start + 1)
    order = np.lexsort((pitch, start))
    begins, stops = time[order], (time + duration)[order]
    together = np.zeros(len(order), dtype=bool)
    together[:-1] = (begins[1:] < stops[:-1]) & (begins[:-1] < stops[1:])
    return start[order], end[order], pitch[order], together


def line_of(start: Array, end: Array, pitch: Array, together: Array, choice: Choice) -> Array:
    """The symbols (s,) of notes (n,) as `steps` gives them; ValueError where two are in one step, or sound at once, and
    `choice` is to refuse."""
    if not len(start):
        return np.empty(0, dtype=np.int64)
    if choice == "refuse":
        behind = np.append(start[1:], end[-1])
        wrong = np.flatnonzero((end > behind + 1) | (start == behind))  # a step of legato is none
        if len(wrong):
            where = start[wrong[0]] / STEPS
            if together[wrong[0]]:
                raise ValueError(f"it has notes at once at quarter {where:g}; expected a single line")
            raise ValueError(f"two of its notes fall onto one sixteenth at quarter {where:g}; expected one at a time")
        first = np.ones(len(start), dtype=bool)
    else:
        edge = np.diff(start) != 0
        first = np.append(edge, True) if choice == "highest" else np.insert(edge, 0, True)  # sorted by pitch
    start, end, pitch = start[first], end[first], pitch[first]
    end[:-1] = np.minimum(end[:-1], start[1:])
    line = np.full(int(end[-1]), HOLD, dtype=np.int64)
    stops = end[end < len(line)]
    line[stops] = OFF
    line[start] = pitch
    return line


def notes_of(line: Array) -> tuple[Array, Array, Array]:
    """First step, step behind the last, and pitch (n,) of what symbols (s,) tell."""
    events = np.flatnonzero(line != HOLD)
    ends = np.append(events[1:], len(line))
    struck = line[events] < HOLD
    return events[struck], ends[struck], line[events][struck]


def drums_of(start: Array, pitch: Array) -> Array:
    """The patterns (s,) of drums struck; those of no class are left out."""
    known = np.array([key in _CLASS for key in pitch.tolist()], dtype=bool)
    start, pitch = start[known], pitch[known]
    patterns = np.zeros(int(start.max()) + 1 if len(start) else 0, dtype=np.int64)
    np.bitwise_or.at(patterns, start, 1 << np.array([_CLASS[key] for key in pitch.tolist()], dtype=np.int64))
    return patterns


def drums_struck(patterns: Array) -> tuple[Array, Array]:
    """Step and pitch (n,) of each drum in patterns (s,): the first pitch of its class."""
    at, number = np.nonzero((patterns[:, None] >> np.arange(len(DRUMS))) & 1)
    return at, np.array([pitches[0] for pitches in DRUMS])[number]


def blank() -> symusic.Score:
    """A score without notes, in sixteenths' ticks."""
    score = symusic.Score(STEPS * _TICKS)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    score.tempos.append(symusic.Tempo(0, _TEMPO))
    return score


def add(score: symusic.Score, start: Array, end: Array, pitch: Array, program: int, drums: bool = False) -> None:
    """Adds a track of notes (n,) to a score; none where there are no notes."""
    if not len(start):
        return
    track = symusic.Track(program=program, is_drum=drums)
    track.notes = symusic.Note.from_numpy(
        time=(start * _TICKS).astype(np.int32),
        duration=((end - start) * _TICKS).astype(np.int32),
        pitch=pitch.astype(np.int8),
        velocity=np.full(len(start), _VELOCITY, dtype=np.int8),
    )
    score.tracks.append(track)
