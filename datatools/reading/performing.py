"""Written bars to a score: repeats played, ties joined, a short first bar moved to the end of a whole one.

A first bar shorter than its meter (a pick-up) is delayed, so that bar lines fall where a counting grid puts them. The
guard: the notes of the score and the heads that ties joined are as many as the heads written, times their repeats; a
difference is a remark.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from core.words import agree, counted
from datatools.reading.canonical import MOST_QUARTERS
from datatools.reading.repeats import Refused, order
from datatools.reading.written import Bar, Note, Written, rounded

TICKS = 480
MOST_NOTES = 1_000_000  # of a score with its repeats played
_FITS = 2**61
_NEAR = 16  # a tie may bridge less than this part of a quarter, which rounded tuplets leave

Sounding = list[int]  # [start, end, pitch, velocity, track]
# by part and pitch: voices, what their ties lead from, and until when at least
Held = dict[tuple[int, int], list[tuple[str, Sounding, int]]]


def performed(written: Written) -> symusic.Score:
    """The score in ticks, 480 a quarter; what was odd is added to the remarks."""
    bars = written.bars
    played = order([bar.signs for bar in bars], written.remarks) if written.order is None else written.order
    if sum(len(bars[index].notes) for index in played) > MOST_NOTES:
        raise Refused(f"its repeats play more than {MOST_NOTES} notes")
    delay = _pickup(bars, written.unit)
    starts = _starts(bars, played, delay, written.unit)
    notes, joined = _sounding(bars, played, starts, written)
    expected = sum(written.heads[index] - written.silent[index] for index in played)
    if len(notes) + joined != expected:
        told = f"{counted(expected, 'note')} {agree(expected, 'is', 'are')} written, repeats played"
        written.remarks.append(f"{told}; {len(notes) + joined} were read")
    return _score(notes, written, starts, played)


def _pickup(bars: Sequence[Bar], unit: int) -> int:
    meter = next((mark for mark in bars[0].marks if mark.kind == "meter"), None) if len(bars) > 1 else None
    if meter is None or not bars[0].length:
        return 0
    beats, beat_unit = meter.value
    return max(0, int(4 * beats * unit / beat_unit) - max(bars[0].length, bars[0].reach))


def _starts(bars: Sequence[Bar], played: Sequence[int], delay: int, unit: int) -> list[int]:
    """When each bar that is played begins, and last when all is over."""
    starts = [delay]
    for index in played:
        starts.append(starts[-1] + bars[index].length)
    if starts[-1] > MOST_QUARTERS * unit:
        raise Refused(f"it spans {starts[-1] / unit:.3g} quarters; expected at most {MOST_QUARTERS}")
    return starts


def _sounding(
    bars: Sequence[Bar], played: Sequence[int], starts: Sequence[int], written: Written
) -> tuple[list[Sounding], int]:
    """The notes that sound, and the number of heads that ties joined to the one before them."""
    notes: list[Sounding] = []
    held: Held = {}
    struck: dict[tuple[int, int], Sounding] = {}  # the last note of a track and pitch
    near = written.unit // _NEAR
    joined = loose = 0
    for index in range(len(bars)):
        bars[index].notes.sort(key=lambda note: note.start)
    for place, index in enumerate(played):
        begin = starts[place]
        for note in bars[index].notes:
            start = max(0, begin + note.start)
            earlier = _held(held, note, start, near) if note.ends_tie else None
            if earlier is not None:
                last = struck[earlier[4], note.pitch]
                if not note.start and last[1] == earlier[1]:
                    earlier = last  # over a bar line the later stroke of two is held on, as in MIDI
                earlier[1] = max(earlier[1], start + note.length)
                joined += 1
            else:
                earlier = [start, start + note.length, note.pitch, note.velocity, note.track]
                notes.append(earlier)
                struck[note.track, note.pitch] = earlier
                loose += note.ends_tie
            if note.begins_tie:
                last_in_bar = note.start + note.length == bars[index].filled.get(note.part)  # the bar may last longer
                until = begin + bars[index].length if last_in_bar else 0
                held.setdefault((note.part, note.pitch), []).append((note.voice, earlier, until))
    if loose:
        told = f"{counted(loose, 'note')} {agree(loose, 'is', 'are')} struck that ties should reach"
        written.remarks.append(f"{told}: nothing leads to {agree(loose, 'it', 'them')}")
    return notes, joined


def _held(held: Held, note: Note, start: int, near: int) -> Sounding | None:
    """The sounding note that a tie leads from, of the same voice if there are several; it is held no longer."""
    waiting = held.get((note.part, note.pitch))
    if not waiting:
        return None
    waiting[:] = [one for one in waiting if max(one[1][1], one[2]) >= start - near]
    found = [one for one in waiting if max(one[1][1], one[2]) <= start + near]
    if not found:
        return None
    best = min(found, key=lambda one: (abs(max(one[1][1], one[2]) - start), one[0] != note.voice))
    waiting.remove(best)
    return best[1]


def _score(notes: list[Sounding], written: Written, starts: list[int], played: Sequence[int]) -> symusic.Score:
    result = symusic.Score(TICKS)
    # what does not fit into 64 bits is counted in Python's own numbers
    kind = np.int64 if 2 * starts[-1] * TICKS + written.unit < _FITS else object
    table = np.array(notes, dtype=kind).reshape(-1, 5)
    begins, ends = (ticks(table[:, column], written.unit) for column in (0, 1))
    for number, track in enumerate(written.tracks):
        of_track = table[:, 4] == number
        if not of_track.any():
            continue
        rows, begin, end = table[of_track], begins[of_track], ends[of_track]
        made = symusic.Track(name=track.name, program=0 if track.is_drum else track.program, is_drum=track.is_drum)
        made.notes = symusic.Note.from_numpy(
            time=begin,
            duration=np.maximum(end - begin, 1),
            pitch=rows[:, 2].astype(np.int8),
            velocity=rows[:, 3].astype(np.int8),
        )
        result.tracks.append(made)
    _marks(result, written, starts, played)
    return result


def ticks(times: NDArray[Any], unit: int) -> NDArray[np.int32]:
    """As `rounded(time * TICKS, unit)`, of many times at once."""
    whole, rest = np.divmod(2 * TICKS * times + unit, 2 * unit)
    return (whole - ((rest == 0) & (whole % 2 == 1))).astype(np.int32)


def _marks(result: symusic.Score, written: Written, starts: list[int], played: Sequence[int]) -> None:
    """Tempos, meters and keys, one at a time and only where they change; the first part's where parts differ."""
    found: dict[str, dict[int, tuple[float, ...]]] = {"tempo": {}, "meter": {}, "key": {}}
    for place, index in enumerate(played):
        for mark in written.bars[index].marks:
            # what holds from the beginning holds in the rest before a pick-up too
            time = starts[place] + mark.start if place or mark.start else 0
            if time <= starts[-1]:  # what stands behind the last bar's end holds for nothing
                found[mark.kind].setdefault(rounded(time * TICKS, written.unit), mark.value)
    for time, (speed,) in _changes(found["tempo"]):
        result.tempos.append(symusic.Tempo(time, qpm=speed))
    for time, (beats, unit) in _changes(found["meter"]):
        result.time_signatures.append(symusic.TimeSignature(time, int(beats), int(unit)))
    for time, (sharps, minor) in _changes(found["key"]):
        result.key_signatures.append(symusic.KeySignature(time, int(sharps), int(minor)))


def _changes(marks: dict[int, tuple[float, ...]]) -> list[tuple[int, Any]]:
    result: list[tuple[int, Any]] = []
    for time in sorted(marks):
        if not result or result[-1][1] != marks[time]:
            result.append((time, marks[time]))
    return result
