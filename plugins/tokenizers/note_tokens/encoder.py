"""From music on a grid to base ids, in NumPy: what MidiTok's encoders do event by event.

MidiTok's own tokens are the oracle (tests/test_fast_tokens.py). All that happens is kept in parts: the ticks (n,) at
which something is told, and the ids (n, w) that tell it. At one tick the parts follow one another in their order.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from core.distinct import distinct
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.grid import DRUMS, Array, Meter
from plugins.tokenizers.note_tokens.quantise import Music

LAST = 2**31 - 1  # the place behind all others


class Part(NamedTuple):
    """Ticks (n,), rising or not, ids (n, w), and where several parts share a tick their places (n,) there."""

    ticks: Array
    ids: Array
    places: Array | int = 0


class Encoder:
    """Writes music in the words of one vocabulary; subclasses say in which order."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.grid = vocabulary.grid
        self.id = {name: id for id, name in enumerate(vocabulary.names)}

    def parts(self, music: Music) -> list[Part]:
        """What is told when."""
        raise NotImplementedError

    def __call__(self, music: Music) -> tuple[Array, Array]:
        """Base ids (l,) of music with notes, and the ticks (l,) at which they are told."""
        return interleaved(self.parts(music))

    @cached_property
    def _pitches(self) -> Array:
        """(2, 128): the id of each pitch, and of each as a drum."""
        drums = "PitchDrum" if self.vocabulary.drum_tokens else "Pitch"
        return np.array([[self.id.get(f"{kind}_{pitch}", -1) for pitch in range(128)] for kind in ("Pitch", drums)])

    @cached_property
    def _velocities(self) -> Array:
        return np.array([self.id.get(f"Velocity_{velocity}", -1) for velocity in range(128)])

    @cached_property
    def _programs(self) -> Array:
        names = [*(f"Program_{program}" for program in range(DRUMS)), "Program_-1"]
        return np.array([self.id.get(name, -1) for name in names])

    def _lengths(self, kind: str, unit: int) -> Array:
        """The id of each length in ticks, -1 where the vocabulary has none, under meters of one unit."""
        ticks = self.vocabulary.ticks[unit]
        result = np.full(max(ticks.values()) + 1, -1)
        for name, length in reversed(ticks.items()):
            result[length] = self.id.get(f"{kind}_{name}", -1)
        return result

    @cached_property
    def _durations(self) -> dict[int, Array]:
        return {unit: self._lengths("Duration", unit) for unit in self.vocabulary.ticks}

    def notes(self, music: Music) -> Part:
        """A note: its program if those are told, pitch, velocity if those are told, duration."""
        order = np.argsort(music.time, kind="stable")
        rank, time = music.rank[order], music.time[order]
        duration = music.duration[order]
        for unit, here in music.sections.by_unit(time):
            duration[here] = self._durations[unit][duration[here]]
        columns = [self._programs[rank]] if self.grid.programs is not None else []
        columns.append(self._pitches[(rank == DRUMS).astype(np.int64), music.pitch[order]])
        if self.vocabulary.velocities:
            columns.append(self._velocities[music.velocity[order]])
        return Part(time, np.array([*columns, duration]).T)

    def marks(self, music: Music) -> list[Part]:
        """Tempos and keys, where the vocabulary tells them."""
        tempos = [(tick, f"Tempo_{tempo}") for tick, tempo in music.tempos] if self.grid.tempos is not None else []
        keys = [(tick, f"KeySig_{fifths}:{mode}") for tick, (fifths, mode) in music.keys]
        return [self._told(marks) for marks in (tempos, keys) if marks]

    def meters(self, music: Music) -> Array:
        """The id (s,) of each section's meter."""
        return np.array([self.id[_meter(meter)] for meter in music.sections.meters])

    def _told(self, marks: Sequence[tuple[int, str]]) -> Part:
        ticks = np.array([tick for tick, _ in marks], dtype=np.int64)
        return Part(ticks, np.array([[self.id[name]] for _, name in marks]))


class BarEncoder(Encoder):
    """REMI: bars and their meters, positions in the bar, and what happens there."""

    def parts(self, music: Music) -> list[Part]:
        """Bars, positions, tempos, keys, notes."""
        happens = [*self.marks(music), self.notes(music)]
        ticks = distinct(np.concatenate([part.ticks for part in happens]))
        starts, sections = music.sections.bars(int(ticks[-1]))
        bars = np.full((len(starts), 1), self.id["Bar_None"])
        if self.grid.meters:
            bars = np.concatenate((bars, self.meters(music)[sections][:, None]), 1)
        steps = np.array([self.grid.step(meter[1]) for meter in music.sections.meters])
        bar = np.searchsorted(starts, ticks, side="right") - 1
        positions = self.id["Position_0"] + (ticks - starts[bar]) // steps[sections[bar]]
        return [Part(starts, bars), Part(ticks, positions[:, None]), *happens]


class ShiftEncoder(Encoder):
    """TSD: the time between what happens."""

    def parts(self, music: Music) -> list[Part]:
        """Time shifts, meters, tempos, keys, notes."""
        happens = [*self.marks(music), self.notes(music)]
        if self.grid.meters:
            starts = np.array(music.sections.starts, dtype=np.int64)
            happens.insert(0, Part(starts, self.meters(music)[:, None]))
        return [*happens, self.shifts(music, distinct(np.concatenate([part.ticks for part in happens])))]

    def shifts(self, music: Music, ticks: Array) -> Part:
        """Greedy shifts to each of the ticks (n,) from the one before, told where they begin."""
        before = np.concatenate(([0], ticks[:-1]))
        parts = []
        for unit, here in music.sections.by_unit(before):
            table, offsets, most, longest = self._greedy[unit]
            start, gap = before[here], (ticks - before)[here]
            counts, rests = gap // longest, gap % longest
            number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            parts.append(Part(np.repeat(start, counts) + number * longest, np.full((len(number), 1), most)))
            told = table[rests] >= 0  # (n, most shifts)
            begins = (start + counts * longest)[:, None] + offsets[rests]
            parts.append(Part(begins[told], table[rests][told][:, None]))
        ticks = np.concatenate([part.ticks for part in parts])
        return Part(ticks, np.concatenate([part.ids for part in parts]), LAST)

    @cached_property
    def _greedy(self) -> dict[int, tuple[Array, Array, int, int]]:
        """By unit: the shifts for each time below the longest one, padded with -1, the ticks already told before each,
        and the longest one's id and ticks."""
        tables = {}
        for unit in self.vocabulary.ticks:
            ids = self._lengths("TimeShift", unit)
            bins = np.flatnonzero(ids >= 0)
            rows: list[list[int]] = [[]]  # of ticks
            for time in range(1, int(bins[-1])):
                first = int(bins[np.searchsorted(bins, time, side="right") - 1]) if time >= bins[0] else 0
                rows.append([first, *rows[time - first]] if first else [])
            table = np.zeros((len(rows), max(1, max(map(len, rows)))), dtype=np.int64)
            for time, row in enumerate(rows):
                table[time, : len(row)] = row
            tables[unit] = (
                np.where(table > 0, ids[table], -1),
                np.cumsum(table, 1) - table,
                int(ids[bins[-1]]),
                int(bins[-1]),
            )
        return tables


class EachShiftEncoder(Encoder):
    """Structured: each note behind the time since the one before, nought included, and nothing else."""

    def parts(self, music: Music) -> list[Part]:
        """Notes with their shifts."""
        notes = self.notes(music)
        before = np.concatenate(([0], notes.ticks[:-1]))
        shifts = self._shifts[notes.ticks - before]
        return [Part(notes.ticks, np.concatenate((shifts[:, None], notes.ids), 1))]

    @cached_property
    def _shifts(self) -> Array:
        return self._lengths("TimeShift", 4)


class OnOffEncoder(ShiftEncoder):
    """MIDI-like: keys pressed and released; at one tick in the order of the notes, programs and drums last."""

    def parts(self, music: Music) -> list[Part]:
        """Meters, tempos, keys, notes on and off, time shifts."""
        drums, programs = (music.rank == DRUMS).astype(np.int64), [self._programs[music.rank]]
        programs = programs if self.grid.programs is not None else []
        begins, ends = [*programs, self._keys[0][drums, music.pitch]], [*programs, self._keys[1][drums, music.pitch]]
        if self.vocabulary.velocities:
            begins.append(self._velocities[music.velocity])
        number = 2 * np.arange(len(music.time))
        happens = [
            *self.marks(music),
            Part(music.time, np.array(begins).T, number + 1),
            Part(music.time + music.duration, np.array(ends).T, number + 2),
        ]
        if self.grid.meters:
            starts = np.array(music.sections.starts, dtype=np.int64)
            happens.insert(0, Part(starts, self.meters(music)[:, None]))
        return [*happens, self.shifts(music, distinct(np.concatenate([part.ticks for part in happens])))]

    @cached_property
    def _keys(self) -> tuple[Array, Array]:
        """(2, 128) each: the ids of pitches, and of drums, that begin and that end."""
        drums = "Drum" if self.vocabulary.drum_tokens else "Note"
        begins, ends = (
            np.array([[self.id.get(f"{kind}{what}_{pitch}", -1) for pitch in range(128)] for kind in ("Note", drums)])
            for what in ("On", "Off")
        )
        return begins, ends


def interleaved(parts: Sequence[Part]) -> tuple[Array, Array]:
    """The ids of all parts by tick, at one tick by place and at one place by part; and their ticks."""
    keys = np.concatenate([(part.ticks << 31) + part.places for part in parts])
    order = keys.argsort(kind="stable")
    widths = np.repeat([part.ids.shape[1] for part in parts], [len(part.ids) for part in parts])[order]
    ends = widths.cumsum()
    starts = np.empty_like(ends)
    starts[order] = ends - widths
    ids = np.empty(int(ends[-1]), dtype=np.int64)
    at = 0
    for part in parts:
        count, width = part.ids.shape
        ids[starts[at : at + count, None] + np.arange(width)] = part.ids
        at += count
    return ids, (keys[order] >> 31).repeat(widths)


def _meter(meter: Meter) -> str:
    return f"TimeSig_{meter[0]}/{meter[1]}"
