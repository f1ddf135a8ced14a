"""Which shift PerTok tells for a time, and how far off it a note may lie; all in MidiTok's ticks.

A note that lies less than half the shortest shift behind the place told last has none of its own, and one that lies
less than that before a bar line belongs to the bar behind it.
"""

from typing import Any

import numpy as np

BEATS = 4  # in a bar


class Steps:
    """The shifts of a MidiTok PerTok; `unit` is the ticks between two onsets that can be told apart."""

    def __init__(self, tok: Any, unit: int) -> None:
        self.unit = unit
        self.bar = BEATS * int(tok.tpq)
        self.micro = bool(tok.use_microtiming)
        self.reach = int(max(tok.microtiming_tick_values)) if self.micro else 0  # ticks off a place at most
        self.least = int(tok.min_timeshift)  # from which on there is a shift
        # MidiTok's names of durations and shifts, and their ticks.
        self.lengths = {".".join(map(str, each)): int(each[0]) * int(each[2]) + int(each[1]) for each in tok.durations}
        shifts = np.array(list(self.lengths.values()), dtype=np.int64)
        times = np.arange(self.bar + self.least + 1)
        nearest = shifts[np.abs(times[:, None] - shifts).argmin(1)]
        nearest[: self.least] = 0
        self.nearest: list[int] = nearest.tolist()  # time since the place told last -> ticks of the shift, 0 for none

    def cell(self, shift: int) -> tuple[int, int]:
        """The first and the last time for which a shift is told; (1, 0) where there is none."""
        times = np.flatnonzero(np.array(self.nearest) == shift)
        return (int(times[0]), int(times[-1])) if len(times) else (1, 0)
