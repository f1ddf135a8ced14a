"""What a tokenizer keeps of real music: the test pieces to tokens and back, note by note.

Shapes: n notes; columns onset (quarters), duration (quarters), pitch, velocity, program.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REACH = 0.5  # quarters; a note that comes back further away than that is another note
ONSET, DURATION, PITCH, VELOCITY, PROGRAM = range(5)


def columns(score: symusic.Score) -> Floats:
    """The notes (n 5) sorted by pitch, onset and duration; a drum track's program is -1."""
    ticks = int(score.ticks_per_quarter)
    parts = [np.zeros((0, 5))]
    for track in score.tracks:
        notes = track.notes.numpy()
        program = np.full(len(notes["time"]), -1 if track.is_drum else int(track.program))
        parts.append(
            np.stack(
                [notes["time"] / ticks, notes["duration"] / ticks, notes["pitch"], notes["velocity"], program], axis=1
            ).astype(np.float64)
        )
    table = np.concatenate(parts)
    return table[np.lexsort((table[:, DURATION], table[:, ONSET], table[:, PITCH]))]


def pairs(one: Floats, other: Floats) -> tuple[list[int], list[int]]:
    """Positions of notes that are each other: of one pitch, at most REACH apart, in order, each taken once."""
    mine, theirs = [], []
    i = j = 0
    while i < len(one) and j < len(other):
        gap = other[j, ONSET] - one[i, ONSET]
        if one[i, PITCH] != other[j, PITCH]:
            later = one[i, PITCH] > other[j, PITCH]
        elif abs(gap) > REACH:
            later = gap < 0
        else:
            # The next of its pitch may be nearer: then this one was not told.
            nearer = (
                i + 1 < len(one)
                and one[i + 1, PITCH] == one[i, PITCH]
                and abs(other[j, ONSET] - one[i + 1, ONSET]) < abs(gap)
            )
            if not nearer:
                mine.append(i)
                theirs.append(j)
                j += 1
            i += 1
            continue
        if later:
            j += 1
        else:
            i += 1
    return mine, theirs


def round_trip(sources: Sequence[symusic.Score], back: Sequence["symusic.Score | None"]) -> dict[str, Any]:
    """Notes not told, notes added, mean shifts of those told, and what kinds of information come back.

    Shifts are mean absolute ones, onset and duration in quarters, velocity in MIDI steps. Information is "kept", "lost"
    or "constant" (the music has one value, so that nothing can be seen).
    """
    notes = told = added = failures = 0
    shifts: list[Floats] = []
    kinds: dict[str, list[tuple[bool, bool]]] = {"velocity": [], "instrument": [], "tempo": [], "meter": []}
    for source, again in zip(sources, back, strict=True):
        if again is None:
            failures += 1
            continue
        one, other = columns(source), columns(again)
        mine, theirs = pairs(one, other)
        notes, told, added = notes + len(one), told + len(mine), added + len(other) - len(theirs)
        shifts.append(np.abs(one[mine] - other[theirs]))
        for kind, column in (("velocity", VELOCITY), ("instrument", PROGRAM)):
            varies = len(np.unique(one[:, column])) > 1
            kinds[kind].append((varies, len(np.unique(other[:, column])) > 1))
        kinds["tempo"].append((_tempo(source) != 120, abs(_tempo(again) / _tempo(source) - 1) < 0.1))
        kinds["meter"].append((_meters(source) != [(4, 4)], _meters(source) == _meters(again)))
    moved = np.concatenate(shifts) if shifts else np.zeros((0, 5))
    means = moved.mean(axis=0) if len(moved) else np.zeros(5)
    return {
        "pieces": len(sources),
        "failures": failures,
        "notes": notes,
        "notes_not_told": notes - told,
        "notes_added": added,
        "onset_shift_quarters": float(means[ONSET]),
        "duration_shift_quarters": float(means[DURATION]),
        "velocity_shift": float(means[VELOCITY]),
        "information": {kind: _verdict(seen) for kind, seen in kinds.items()},
    }


def _verdict(seen: list[tuple[bool, bool]]) -> str:
    """From (the piece shows it, it came back) of each piece."""
    shown = [back for shows, back in seen if shows]
    if not shown:
        return "constant"
    return "kept" if sum(shown) > len(shown) / 2 else "lost"


def _tempo(score: symusic.Score) -> float:
    """The first tempo in quarters a minute; 120, as MIDI has it, where none is said."""
    return float(min(score.tempos, key=lambda event: event.time).qpm) if len(score.tempos) else 120.0


def _meters(score: symusic.Score) -> list[tuple[int, int]]:
    found = [
        (int(event.numerator), int(event.denominator))
        for event in sorted(score.time_signatures, key=lambda event: event.time)
    ]
    return [meter for k, meter in enumerate(found) if not k or meter != found[k - 1]] or [(4, 4)]
