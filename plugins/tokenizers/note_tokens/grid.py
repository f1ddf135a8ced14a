"""The grid of a MidiTok vocabulary, and the meters that lay it over a score."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.log import logger

Meter = tuple[int, int]  # beats, unit
Array = NDArray[Any]
DRUMS = 128  # the rank of drums, behind all programs


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
    free: bool = False  # notes end when they are released, anywhere on the grid
    shifts: Array | None = None  # (s,) ticks, rising: the only times between onsets, where one token tells each

    @cached_property
    def loudness(self) -> Array:
        """(128,): the velocity that stands for each."""
        if self.velocities is None:
            return np.full(128, self.velocity)
        nearest: Array = self.velocities[np.abs(self.velocities[None] - np.arange(128)[:, None]).argmin(1)]
        return nearest

    @cached_property
    def told(self) -> Array:
        """(129,): whether each rank is a program that can be told."""
        programs = self.programs if self.programs is not None else {0}
        return np.array([*(program in programs for program in range(128)), -1 in programs])

    @cached_property
    def timed(self) -> Array:
        """(129,): whether the notes of each rank bear a duration."""
        return np.array([*(program not in self.untimed for program in range(128)), -1 not in self.untimed])

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

    def __init__(self, grid: Grid, meters: Iterable[tuple[int, Meter]], tpq: int, source: str) -> None:
        self.grid = grid
        self.starts: list[int] = [0]
        self.meters: list[Meter] = [(4, 4)]
        if grid.meters:
            for tick, written in meters:
                self._change(Fraction(tick * grid.ticks, tpq), written, source)

    def _change(self, at: Fraction, written: Meter, source: str) -> None:
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

    def index(self, times: Array) -> Array:
        """The number of the section that holds at each tick."""
        if len(self.starts) == 1:
            return np.zeros(len(times), dtype=np.int64)
        return np.searchsorted(self.starts, times, side="right") - 1

    def units(self, times: Array) -> Array:
        """The unit of the meter that holds at each tick."""
        units: Array = np.array([meter[1] for meter in self.meters])[self.index(times)]
        return units

    def by_unit(self, times: Array) -> Iterator[tuple[int, Array | slice]]:
        """Each unit of the meters, and at which of the ticks (n,) it holds."""
        units = {meter[1] for meter in self.meters}
        held = self.units(times) if len(units) > 1 else None
        for unit in units:
            yield unit, slice(None) if held is None else held == unit

    def quantised(self, times: Array, tpq: int) -> Array:
        """The grid's ticks nearest to `times`, which count `tpq` a quarter; halves go up."""
        exact = times.astype(np.int64) * self.grid.ticks  # in ticks * tpq
        starts, steps = np.array(self.starts), np.array([self.grid.step(meter[1]) for meter in self.meters])
        if len(starts) > 1:
            index = np.searchsorted(starts * tpq, exact, side="right") - 1
            starts, steps = starts[index], steps[index]
        steps = steps * tpq
        past = exact - starts * tpq
        nearest: Array = starts + (2 * past + steps) // (2 * steps) * steps // tpq
        return nearest

    def bars(self, last: int) -> tuple[Array, Array]:
        """Ticks (bars,) at which bars begin, up to tick `last`, and the number of the section of each."""
        ends = [*self.starts[1:], last + 1]
        ticks = [
            np.arange(start, max(end, start + 1), self.grid.bar(meter))
            for start, end, meter in zip(self.starts, ends, self.meters, strict=True)
        ]
        return np.concatenate(ticks), np.repeat(np.arange(len(ticks)), [len(each) for each in ticks])

    def beats(self, last: int) -> Array:
        """Ticks at which beats begin, up to tick `last`."""
        ends = [*self.starts[1:], last + 1]
        return np.concatenate(
            [
                np.arange(start, max(end, start + 1), self.grid.ticks * 4 // meter[1])
                for start, end, meter in zip(self.starts, ends, self.meters, strict=True)
            ]
        )
