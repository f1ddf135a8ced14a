"""A score on the grid of a MidiTok vocabulary, so that its tokens tell everything and decode to the very same notes.

What MidiTok 3.1.0 would lose, delay or mix up on the way is settled here, before it sees the score:
meters change at bar lines only (a shorter bar gets a meter of its own length where there is one), onsets lie on the
grid of their bar, durations are among those of the vocabulary, of several notes of one pitch and onset the longest
stays, and a note ends where the next one of its pitch begins.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import symusic

from core.log import logger

Meter = tuple[int, int]  # beats, unit


@dataclass(frozen=True)
class Grid:
    """What a vocabulary can tell; times in its ticks, of which a quarter has `ticks`."""

    ticks: int
    positions: int  # in a beat
    meters: tuple[Meter, ...]  # empty: 4/4 throughout
    durations: dict[int, np.ndarray]  # unit of the meter -> ticks, rising
    pitches: tuple[int, int]
    drum_pitches: tuple[int, int]
    programs: frozenset[int] | None  # -1 for drums; None: all instruments are one, without drums
    velocities: np.ndarray | None  # None: all notes are struck alike
    velocity: int
    tempos: np.ndarray | None  # quarters a minute; None: not told
    tempo: float
    keys: bool
    rests: bool  # silence is counted from the end of notes, which must then be on the grid
    untimed: frozenset[int]  # programs whose notes bear no duration
    untimed_beats: float  # and what they are given instead
    extras: bool  # pedals, bends and controls are carried along for MidiTok to quantise

    def step(self, unit: int) -> int:
        """Ticks between two positions."""
        return self.ticks * 4 // (unit * self.positions)

    def bar(self, meter: Meter) -> int:
        """Ticks in a bar."""
        return meter[0] * self.ticks * 4 // meter[1]

    def meter(self, meter: Meter) -> Meter | None:
        """The meter itself or one as long; None when the vocabulary has neither."""
        if meter in self.meters:
            return meter
        length = Fraction(*meter)
        return next((known for known in self.meters if Fraction(*known) == length), None)


class Sections:
    """Where which meter holds: `starts` (s,) in ticks, at bar lines of the section before, and `meters`."""

    def __init__(self, grid: Grid, score: symusic.Score, source: str) -> None:
        self.grid = grid
        self.starts: list[int] = [0]
        self.meters: list[Meter] = [(4, 4)]
        if grid.meters:
            for mark in score.time_signatures:
                self._change(Fraction(mark.time * grid.ticks, score.ticks_per_quarter), mark, source)

    def _change(self, at: Fraction, mark: Any, source: str) -> None:
        written = (int(mark.numerator), int(mark.denominator))
        meter = self.grid.meter(written)
        if meter is None:
            logger.info("%s: the vocabulary has no meter %d/%d; the bars before go on", source or "a score", *written)
            return
        if meter == self.meters[-1]:
            return
        start, bar = self.starts[-1], self.grid.bar(self.meters[-1])
        near = Fraction(self.grid.step(self.meters[-1][1]), 2)
        whole = max(0, round((at - start) / bar))
        if at - start > 0 and abs(at - start - whole * bar) > near:
            whole = (at - start) // bar
            rest = at - start - whole * bar
            short = next((m for m in self.grid.meters if abs(self.grid.bar(m) - rest) <= near), None)
            if short is None:
                if source:  # what a model made up has no name and no complaint
                    logger.info("%s: a change of meter inside a bar waits for its end", source)
                whole += 1
            else:
                self._put(start + int(whole) * bar, short)
                start, whole, bar = self.starts[-1], 1, self.grid.bar(short)
        self._put(start + int(whole) * bar, meter)

    def _put(self, start: int, meter: Meter) -> None:
        if start == self.starts[-1]:
            self.meters[-1] = meter
            if len(self.meters) > 1 and self.meters[-2] == meter:
                self.starts.pop()
                self.meters.pop()
        elif meter != self.meters[-1]:
            self.starts.append(start)
            self.meters.append(meter)

    def cut(self, last: int) -> None:
        """Forgets what begins after tick `last`."""
        while self.starts[-1] > last:
            self.starts.pop()
            self.meters.pop()

    def units(self, times: np.ndarray) -> np.ndarray:
        """The unit of the meter that holds at each tick."""
        index = np.searchsorted(self.starts, times, side="right") - 1
        return np.array([meter[1] for meter in self.meters])[index]

    def quantised(self, times: np.ndarray, tpq: int) -> np.ndarray:
        """The grid's ticks nearest to `times`, which count `tpq` a quarter; halves go up."""
        exact = times.astype(np.int64) * self.grid.ticks  # in ticks * tpq
        starts = np.array(self.starts, dtype=np.int64)
        index = np.searchsorted(starts * tpq, exact, side="right") - 1
        steps = np.array([self.grid.step(meter[1]) for meter in self.meters], dtype=np.int64)[index] * tpq
        past = exact - starts[index] * tpq
        nearest: np.ndarray = starts[index] + (2 * past + steps) // (2 * steps) * steps // tpq
        return nearest


def quantise(score: symusic.Score, grid: Grid, source: str = "") -> symusic.Score:
    """`score` as the grid tells it; a second time nothing changes. It may be left without notes."""
    tpq = int(score.ticks_per_quarter)
    sections = Sections(grid, score, source)
    voices: dict[int, list[Any]] = {}
    for track in score.tracks:
        program = -1 if track.is_drum else int(track.program)
        if grid.programs is None and program >= 0:
            program = 0
        voices.setdefault(program, []).append(track)
    result = symusic.Score(grid.ticks)
    last, left_out, shortened = -1, 0, 0
    for program in sorted(voices, key=lambda p: (p < 0, p)):  # drums last
        if program not in (grid.programs if grid.programs is not None else {0}):
            left_out += sum(len(track.notes) for track in voices[program])
            continue
        columns = {
            key: np.concatenate([track.notes.numpy()[key] for track in voices[program]]).astype(np.int64)
            for key in ("time", "duration", "pitch", "velocity")
        }
        low, high = grid.drum_pitches if program == -1 else grid.pitches
        inside = (columns["pitch"] >= low) & (columns["pitch"] <= high) & (columns["time"] >= 0)
        left_out += int((~inside).sum())
        columns = {key: values[inside] for key, values in columns.items()}
        if not len(columns["time"]):
            continue
        longest = max(int(bins[-1]) for bins in grid.durations.values())
        shortened += int((columns["duration"] * grid.ticks > longest * tpq).sum())
        columns = _notes(columns, grid, sections, tpq, program in grid.untimed)
        last = max(last, int(columns["time"].max()))
        out = symusic.Track(program=max(program, 0), is_drum=program == -1)
        out.notes = symusic.Note.from_numpy(**{k: v.astype(_TYPES[k]) for k, v in columns.items()})
        if grid.extras:
            _carry(voices[program], out, sections, tpq)
        result.tracks.append(out)
    if left_out:
        logger.info("%s: %d notes that the vocabulary cannot tell are left out", source or "a score", left_out)
    if shortened:
        logger.info("%s: %d notes are longer than any duration of the vocabulary", source or "a score", shortened)
    sections.cut(max(last, 0))
    for start, (beats, unit) in zip(sections.starts, sections.meters, strict=True):
        result.time_signatures.append(symusic.TimeSignature(start, beats, unit))
    _tempos(score, result, grid, sections, last)
    if grid.keys:
        _keys(score, result, sections, last)
    return result


_TYPES = {"time": np.int32, "duration": np.int32, "pitch": np.int8, "velocity": np.int8}


def same(a: symusic.Score, b: symusic.Score) -> bool:
    """Whether two quantised scores tell the same."""
    if len(a.tracks) != len(b.tracks):
        return False
    for one, other in zip(a.tracks, b.tracks, strict=True):
        if (one.program, one.is_drum) != (other.program, other.is_drum):
            return False
        if not all(np.array_equal(x, other.notes.numpy()[key]) for key, x in one.notes.numpy().items()):
            return False
    marks = ("time_signatures", "tempos", "key_signatures")
    return all(getattr(a, mark) == getattr(b, mark) for mark in marks)


def _notes(
    columns: dict[str, np.ndarray], grid: Grid, sections: Sections, tpq: int, untimed: bool
) -> dict[str, np.ndarray]:
    time = sections.quantised(columns["time"], tpq)
    units = sections.units(time)
    duration = np.empty_like(time)
    for unit in np.unique(units):
        bins = grid.durations[int(unit)]
        middles = (bins[1:] + bins[:-1]) * tpq  # twice the middle between neighbours
        here = units == unit
        if untimed:
            duration[here] = max(1, int(grid.untimed_beats * grid.ticks * 4 // int(unit)))
            continue
        duration[here] = bins[np.searchsorted(middles, 2 * columns["duration"][here] * grid.ticks, side="left")]
    velocity = columns["velocity"]
    if grid.velocities is None:
        velocity = np.full_like(time, grid.velocity)
    else:
        velocity = grid.velocities[np.abs(grid.velocities[None] - velocity[:, None]).argmin(1)]
    # Of the notes with one pitch and onset the longest comes last, and stays with the loudness of the loudest.
    order = np.lexsort((duration, time, columns["pitch"]))
    time, duration, velocity, pitch = time[order], duration[order], velocity[order], columns["pitch"][order]
    first = np.flatnonzero(np.concatenate(([True], (np.diff(time) != 0) | (np.diff(pitch) != 0))))
    velocity = np.maximum.reduceat(velocity, first)
    stay = np.concatenate((first[1:], [len(time)])) - 1
    time, duration, pitch, units = time[stay], duration[stay], pitch[stay], sections.units(time[stay])
    gap = np.concatenate(
        (np.where(np.diff(pitch) == 0, np.diff(time), np.iinfo(np.int64).max), [np.iinfo(np.int64).max])
    )
    for index in np.flatnonzero(duration > gap):
        bins = grid.durations[int(units[index])]
        duration[index] = bins[np.searchsorted(bins, gap[index], side="right") - 1]
    if grid.rests:
        _end_on_grid(time, duration, units, grid, sections)
    order = np.lexsort((pitch, time))
    return {
        "time": time[order],
        "duration": duration[order],
        "pitch": pitch[order],
        "velocity": velocity[order],
    }


def _end_on_grid(time: np.ndarray, duration: np.ndarray, units: np.ndarray, grid: Grid, sections: Sections) -> None:
    """Shortens, in place, the notes that end off the grid of the meter in which they end."""

    def off(ends: np.ndarray) -> np.ndarray:
        return sections.quantised(ends, grid.ticks) != ends

    for index in np.flatnonzero(off(time + duration)):
        bins = grid.durations[int(units[index])]
        bins = bins[bins <= duration[index]]
        duration[index] = bins[~off(time[index] + bins)][-1]  # within its own section any is on the grid


def _tempos(score: symusic.Score, result: symusic.Score, grid: Grid, sections: Sections, last: int) -> None:
    if grid.tempos is None:
        result.tempos.append(symusic.Tempo(0, grid.tempo))
        return
    marks = {0: float(grid.tempo)}
    columns = score.tempos.numpy()
    times = sections.quantised(columns["time"], int(score.ticks_per_quarter))
    for tick, mspq in zip(times.tolist(), columns["mspq"].tolist(), strict=True):
        if 0 <= tick <= last:
            marks[tick] = float(grid.tempos[np.abs(grid.tempos - 6e7 / max(mspq, 1)).argmin()])
    before = None
    for tick in sorted(marks):
        if marks[tick] != before:
            result.tempos.append(symusic.Tempo(tick, marks[tick]))
            before = marks[tick]


def _keys(score: symusic.Score, result: symusic.Score, sections: Sections, last: int) -> None:
    marks: dict[int, tuple[int, int]] = {}
    for mark in score.key_signatures:
        tick = int(sections.quantised(np.array([mark.time]), int(score.ticks_per_quarter))[0])
        if 0 <= tick <= last and -7 <= mark.key <= 7 and mark.tonality in (0, 1):
            marks[tick] = (int(mark.key), int(mark.tonality))
    before = None
    for tick in sorted(marks):
        if marks[tick] != before:
            result.key_signatures.append(symusic.KeySignature(tick, *marks[tick]))
            before = marks[tick]


def _carry(tracks: list[Any], out: Any, sections: Sections, tpq: int) -> None:
    for kind, maker in (
        ("controls", symusic.ControlChange),
        ("pitch_bends", symusic.PitchBend),
        ("pedals", symusic.Pedal),
    ):
        parts = [getattr(track, kind).numpy() for track in tracks if len(getattr(track, kind))]
        if not parts:
            continue
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        end = columns["time"] + columns.get("duration", 0)
        columns["time"] = sections.quantised(columns["time"], tpq).astype(np.int32)
        if "duration" in columns:
            columns["duration"] = (sections.quantised(end, tpq) - columns["time"]).clip(1).astype(np.int32)
        order = np.argsort(columns["time"], kind="stable")
        setattr(out, kind, maker.from_numpy(**{key: values[order] for key, values in columns.items()}))
