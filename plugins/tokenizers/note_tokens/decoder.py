"""From base ids to music, in NumPy and whatever the ids are: what MidiTok's decoders do token by token.

MidiTok's own decoding is the oracle (tests/test_fast_tokens.py).
Shapes: l ids, v base vocabulary, u units of meters.
"""

from abc import ABC, abstractmethod

import numpy as np
import symusic

from core.distinct import changes
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.grid import DRUMS, Array, Meter
from plugins.tokenizers.note_tokens.quantise import Raw

KINDS = (
    "Pitch",
    "PitchDrum",
    "Velocity",
    "Duration",
    "TimeSig",
    "Tempo",
    "KeySig",
    "Program",
    "Bar",
    "Position",
    "TimeShift",
    "NoteOn",
    "NoteOff",
    "DrumOn",
    "DrumOff",
    "MicroTiming",
)
OTHER = len(KINDS)


class Decoder(ABC):
    """Reads base ids of one vocabulary; subclasses say how time is told."""

    behind = 1  # places from a pitch to what is told of it

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.grid = vocabulary.grid
        self.velocities = vocabulary.velocities
        names = [name.partition("_") for name in vocabulary.names]
        self.kinds = np.array([KINDS.index(kind) if kind in KINDS else OTHER for kind, _, _ in names], np.int8)  # v
        plain = {"Pitch", "PitchDrum", "Velocity", "Program", "Position", "MicroTiming"}
        plain |= {"NoteOn", "NoteOff", "DrumOn", "DrumOff"}
        self.values = np.array([int(value) if kind in plain else 0 for kind, _, value in names])  # v
        self.values[(self.kinds == KINDS.index("Program")) & (self.values == -1)] = DRUMS
        self.units = sorted(vocabulary.ticks)
        self.lengths = np.array([[vocabulary.ticks[u].get(value, 0) for _, _, value in names] for u in self.units])
        self.meters = [(4, 4), *grid_meters(names)]
        numbers = {f"{beats}/{unit}": number for number, (beats, unit) in enumerate(self.meters)}
        self.meter = np.array([numbers[value] if kind == "TimeSig" else 0 for kind, _, value in names])  # v
        self.unit = np.array([self.units.index(meter[1]) for meter in self.meters])  # of a meter
        self.bar = np.array([self.grid.bar(meter) for meter in self.meters])
        self.step = np.array([self.grid.step(meter[1]) for meter in self.meters])
        tempos = [(id, float(value)) for id, (kind, _, value) in enumerate(names) if kind == "Tempo"]
        self.tempo = {id: int(symusic.Tempo(0, tempo).mspq) for id, tempo in tempos}
        keys = [(id, value.split(":")) for id, (kind, _, value) in enumerate(names) if kind == "KeySig"]
        self.key = {id: (int(fifths), int(mode)) for id, (fifths, mode) in keys}

    @abstractmethod
    def times(self, ids: Array, kinds: Array, meter: Array) -> Array:
        """Ticks (l,) at which what each id tells happens; `meter` (l,) is the number of the one that holds."""

    @abstractmethod
    def first_meter(self, ids: Array, kinds: Array) -> int:
        """The number of the meter that holds before any is told."""

    def __call__(self, ids: Array) -> Raw:
        """The music that base ids (l,) tell."""
        kinds = self.kinds[ids]
        meter = self._held(ids, kinds)
        ticks = self.times(ids, kinds, meter)
        notes, duration = self.notes(ids, kinds, meter, ticks)
        pitch = self.values[ids[notes]]
        inside = (pitch >= self.grid.pitches[0]) & (pitch <= self.grid.pitches[1])
        notes, duration, pitch = notes[inside], duration[inside], pitch[inside]
        velocity = self.values[ids[notes + self.behind]] if self.velocities else np.full(len(pitch), self.grid.velocity)
        return Raw(
            self.grid.ticks,
            self._ranks(ids, kinds)[notes],
            ticks[notes],
            duration,
            pitch,
            velocity,
            self._meters(ids, kinds, ticks),
            [(int(ticks[at]), self.tempo[int(ids[at])]) for at in np.flatnonzero(kinds == KINDS.index("Tempo"))],
            [(int(ticks[at]), self.key[int(ids[at])]) for at in np.flatnonzero(kinds == KINDS.index("KeySig"))],
        )

    def notes(self, ids: Array, kinds: Array, meter: Array, ticks: Array) -> tuple[Array, Array]:
        """Places (n,) of the pitches of whole notes, and their durations (n,) in ticks."""
        pitched = np.flatnonzero(kinds <= KINDS.index("PitchDrum"))
        pitched = self._loud(pitched, kinds, self.behind)
        ends = pitched + self.behind + self.velocities
        whole = kinds[ends] == KINDS.index("Duration")
        pitched, ends = pitched[whole], ends[whole]
        return pitched, self.lengths[self.unit[meter[pitched]], ids[ends]]

    def _loud(self, pitched: Array, kinds: Array, behind: int) -> Array:
        """Those places of pitches that have their velocity, if those are told, and `behind` tokens more."""
        pitched = pitched[pitched < len(kinds) - behind - self.velocities]
        return pitched[kinds[pitched + self.behind] == KINDS.index("Velocity")] if self.velocities else pitched

    def _held(self, ids: Array, kinds: Array) -> Array:
        """(l,): the number of the meter that holds at each id, its own if it tells one."""
        told = kinds == KINDS.index("TimeSig")
        return _last(told, self.meter[ids[told]], self.first_meter(ids, kinds))

    def _ranks(self, ids: Array, kinds: Array) -> Array:
        """(l,): the rank of the program told last, 0 before any."""
        told = kinds == KINDS.index("Program")
        return _last(told, self.values[ids[told]], 0)

    def _meters(self, ids: Array, kinds: Array, ticks: Array) -> list[tuple[int, Meter]]:
        told = np.flatnonzero(kinds == KINDS.index("TimeSig"))
        numbers = self.meter[ids[told]]
        found = [(0, self.meters[self.first_meter(ids, kinds)])]
        changes = np.flatnonzero(numbers != np.concatenate(([-1], numbers[:-1])))
        return found + [(int(ticks[told[at]]), self.meters[numbers[at]]) for at in changes]


class BarDecoder(Decoder):
    """REMI: a bar begins where the one before ends, and a position counts from its beginning."""

    def first_meter(self, ids: Array, kinds: Array) -> int:
        """The first one told, unless a note is told before."""
        stops = kinds <= KINDS.index("TimeSig")  # which all of a note is before
        return int(self.meter[ids[stops.argmax()]]) if stops.any() else 0

    def times(self, ids: Array, kinds: Array, meter: Array) -> Array:
        """The last bar or position told."""
        bars, positions = kinds == KINDS.index("Bar"), kinds == KINDS.index("Position")
        lengths = np.where(bars, self.bar[meter], 0)
        first = int(bars.argmax()) if bars.any() else 0
        if not positions[:first].any():  # a position opens the first bar by itself
            lengths[first] = 0
        starts = np.cumsum(lengths)
        moves = bars | positions
        return _last(moves, (starts + np.where(positions, self.values[ids], 0) * self.step[meter])[moves], 0)


class ShiftDecoder(Decoder):
    """TSD: time goes on by shifts."""

    def first_meter(self, ids: Array, kinds: Array) -> int:
        """4/4."""
        return 0

    def times(self, ids: Array, kinds: Array, meter: Array) -> Array:
        """The sum of the shifts so far."""
        shifts = np.where(kinds == KINDS.index("TimeShift"), self.lengths[self.unit[meter], ids], 0)
        ticks: Array = np.cumsum(shifts)
        return ticks


class OnOffDecoder(ShiftDecoder):
    """MIDI-like: what was pressed first is released first; what is never released ends with the music.

    MidiTok leaves out what is never released; a piece that was cut short keeps it here.
    """

    def notes(self, ids: Array, kinds: Array, meter: Array, ticks: Array) -> tuple[Array, Array]:
        """Places (n,) of the pitches pressed, and durations (n,) in ticks."""
        starts, stops = (
            (kinds == KINDS.index(f"Note{side}")) | (kinds == KINDS.index(f"Drum{side}")) for side in ("On", "Off")
        )
        begins = self._loud(np.flatnonzero(starts), kinds, 0)
        events = np.concatenate((begins, np.flatnonzero(stops)))
        keys = (self._ranks(ids, kinds) * 128 + self.values[ids])[events]
        order = np.lexsort((events, keys))
        events, keys = events[order], keys[order]
        begin = np.where(starts[events], 1, -1)
        # A release of what does not sound is none: it takes the count of its key below all before.
        first = changes(keys).nonzero()[0]
        group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(keys))))
        count = np.cumsum(begin) if len(keys) else keys
        count = count - (count[first] - begin[first])[group]
        span = len(keys) + 1
        lowest = np.minimum.accumulate(count - 2 * span * group) + 2 * span * group
        floor = np.minimum(np.concatenate(([0], lowest[:-1])), 0)
        floor[first] = 0
        counts = (begin > 0) | (count >= floor)
        events, keys, begin = events[counts], keys[counts], begin[counts]
        pressed, released = events[begin > 0], events[begin < 0]
        # Of each key, the one pressed as the k-th is the k-th to be released.
        codes, others = (keys[side] * span + _numbered(keys[side]) for side in (begin > 0, begin < 0))
        match = np.searchsorted(others, codes)
        found = match < len(others)
        found[found] = others[match[found]] == codes[found]
        end = np.full(len(pressed), ticks[-1] if len(ticks) else 0)
        end[found] = ticks[released[match[found]]]
        duration = end - ticks[pressed]
        kept = found | (duration > 0)
        order = np.argsort(pressed[kept])
        return pressed[kept][order], duration[kept][order]


def _last(told: Array, values: Array, before: int) -> Array:
    """(l,): at each place the last of the values (n,) told so far, one at each place where `told` (l,) holds."""
    last: Array = np.concatenate(([before], values))[told.cumsum()]
    return last


def _numbered(keys: Array) -> Array:
    """How many of the same key were before each, in a sorted array."""
    first = changes(keys).nonzero()[0]
    return np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))


def grid_meters(names: list[tuple[str, str, str]]) -> list[Meter]:
    """The meters among the names of a vocabulary."""
    pairs = [value.split("/") for kind, _, value in names if kind == "TimeSig"]
    return [(int(beats), int(unit)) for beats, unit in pairs]
