"""The events of a performance vocabulary, and from notes in its time steps to events and back, in NumPy.

Shapes: n notes, l events.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("note_on", "note_off", "velocity", "time_shift")
ON, OFF, VELOCITY, SHIFT = range(4)


@dataclass(frozen=True)
class Events:
    """What a vocabulary can tell. Ids follow the blocks in their `order`."""

    order: tuple[int, int, int, int]
    pitches: tuple[int, int]
    velocities: tuple[int, ...]  # what each step sounds like
    shifts: tuple[int, ...]  # in steps of time, rising
    steps_per_second: int
    pedal: bool  # whether notes last as long as the pedal holds them

    @cached_property
    def first(self) -> tuple[int, ...]:
        """The first id of each kind."""
        low, high = self.pitches
        sizes = {ON: high - low + 1, OFF: high - low + 1, VELOCITY: len(self.velocities), SHIFT: len(self.shifts)}
        starts = np.cumsum([0, *(sizes[kind] for kind in self.order)]).tolist()
        return tuple(starts[self.order.index(kind)] for kind in range(4))

    @cached_property
    def size(self) -> int:
        """The number of events."""
        return 2 * (self.pitches[1] - self.pitches[0] + 1) + len(self.velocities) + len(self.shifts)

    @cached_property
    def kinds(self) -> Array:
        """(events,): the kind of each id."""
        return np.array([max(range(4), key=lambda k: (self.first[k] <= id, self.first[k])) for id in range(self.size)])

    @cached_property
    def values(self) -> Array:
        """(events,): pitch, velocity or steps of each id."""
        values = np.arange(self.size) - np.array(self.first)[self.kinds]
        for kind, table in ((VELOCITY, self.velocities), (SHIFT, self.shifts)):
            here = self.kinds == kind
            values[here] = np.array(table)[values[here]]
        values[self.kinds <= OFF] += self.pitches[0]
        return values

    @cached_property
    def loudness(self) -> Array:
        """(128,): the nearest step for each velocity."""
        return np.abs(np.array(self.velocities) - np.arange(128)[:, None]).argmin(1)

    @cached_property
    def ways(self) -> list[list[int]]:
        """For each time below the longest shift, the numbers of the shifts that add up to it greedily.

        Empty for a time that they do not add up to.
        """
        ways: list[list[int]] = [[]]
        for time in range(1, self.shifts[-1]):
            first = int(np.searchsorted(self.shifts, time, side="right")) - 1
            rest = time - self.shifts[first] if first >= 0 else -1
            ways.append([first, *ways[rest]] if rest == 0 or (rest > 0 and ways[rest]) else [])
        return ways

    @cached_property
    def nearest(self) -> list[int]:
        """For each time below the longest shift, the nearest one that shifts add up to; halves go up."""
        told = np.array([0, *(time for time, way in enumerate(self.ways) if way), self.shifts[-1]])
        middles = (told[1:] + told[:-1]) / 2
        found: list[int] = told[np.searchsorted(middles, np.arange(self.shifts[-1]), side="right")].tolist()
        return found

    def reached(self, times: Array) -> Array:
        """For rising times (n,) in steps, those (n,) that shifts from each to the next can reach, errors made good."""
        longest, nearest = self.shifts[-1], self.nearest
        if self.shifts == tuple(range(1, longest + 1)):
            return times
        now, found = 0, []
        for time in times.tolist():
            whole, rest = divmod(max(0, time - now), longest)
            now += whole * longest + nearest[rest]
            found.append(now)
        return np.array(found, dtype=np.int64)


def written(events: Events, start: Array, end: Array, pitch: Array, velocity: Array) -> Array:
    """Ids (l,) of notes (n,) that begin and end at steps which shifts can reach, none sounding twice at once."""
    count = len(start)
    time, kind = np.concatenate((end, start)), np.repeat((OFF, ON), count)
    keys = np.concatenate((pitch, pitch))
    order = np.lexsort((keys, kind == ON, time))  # what ends goes first
    time, kind, keys = time[order], kind[order], keys[order]
    ids = np.array(events.first)[kind] + keys - events.pitches[0]
    level = np.concatenate((np.zeros(count, np.int64), events.loudness[velocity]))[order]
    begins = np.flatnonzero(kind == ON)
    changes = begins[np.diff(level[begins], prepend=-1) != 0]
    gaps = np.diff(time, prepend=0)
    moves = np.flatnonzero(gaps)
    whole, rest = gaps[moves] // events.shifts[-1], gaps[moves] % events.shifts[-1]
    ways = [
        [len(events.shifts) - 1] * most + events.ways[left]
        for most, left in zip(whole.tolist(), rest.tolist(), strict=True)
    ]
    shifts = np.array([number for way in ways for number in way], dtype=np.int64) + events.first[SHIFT]
    # an event comes behind the shifts and the velocity that lead to it
    keyed = np.concatenate(
        (np.repeat(moves, [len(way) for way in ways]) * 3, changes * 3 + 1, np.arange(len(ids)) * 3 + 2)
    )
    told = np.concatenate((shifts, level[changes] + events.first[VELOCITY], ids))
    result: Array = told[np.argsort(keyed, kind="stable")]
    return result


def read(events: Events, ids: Array) -> tuple[Array, Array, Array, Array]:
    """Start, end in steps, pitch and velocity (n,) of the notes that any ids (l,) below `events.size` tell.

    A note ends where its pitch is released or struck again, and at last with the music.
    """
    kinds, values = events.kinds[ids], events.values[ids]
    time = np.cumsum(np.where(kinds == SHIFT, values, 0))
    levels = np.concatenate(([events.velocities[len(events.velocities) // 2]], values[kinds == VELOCITY]))
    level = levels[np.cumsum(kinds == VELOCITY)]
    keys = np.flatnonzero(kinds <= OFF)
    keys = keys[np.argsort(values[keys], kind="stable")]
    last = time[-1] if len(time) else 0
    same = values[keys][1:] == values[keys][:-1]
    end = np.full(len(keys), last)
    end[:-1][same] = time[keys][1:][same]
    sounds = (kinds[keys] == ON) & (end > time[keys])
    keys, end = keys[sounds], end[sounds]
    return time[keys], end, values[keys], level[keys]


def apart(start: Array, end: Array, pitch: Array, velocity: Array, least: int) -> tuple[Array, Array, Array, Array]:
    """The notes by pitch and start: of those that begin within `least` steps the first stays, none sounds twice at
    once, and none is shorter than `least`."""
    order = np.lexsort((end, start, pitch))
    start, end, pitch, velocity = start[order], end[order], pitch[order], velocity[order]
    kept: list[int] = []
    for at, (onset, key) in enumerate(zip(start.tolist(), pitch.tolist(), strict=True)):
        if kept and pitch[kept[-1]] == key and onset - start[kept[-1]] < least:
            end[kept[-1]] = max(end[kept[-1]], end[at])
            velocity[kept[-1]] = max(velocity[kept[-1]], velocity[at])
        else:
            kept.append(at)
    start, end, pitch, velocity = start[kept], end[kept], pitch[kept], velocity[kept]
    end = np.maximum(end, start + least)
    if len(start) > 1:
        same = pitch[1:] == pitch[:-1]
        end[:-1][same] = np.minimum(end[:-1][same], start[1:][same])
    return start, end, pitch, velocity
