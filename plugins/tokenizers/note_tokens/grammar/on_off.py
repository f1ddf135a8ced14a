"""The grammar of MIDI-like tokens: a pitch is pressed when it does not sound, and released later than it was pressed.

A piece may end once every note has lasted; what still sounds then ends with the music. What else happens at a tick is
told in one order: meter, tempo, key, notes.
Shapes: b batch, v vocabulary, k keys (128 a program), u units of meters, m meters.
"""

from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.grid import DRUMS

SILENT, PRESSED, SOUNDING = range(3)  # PRESSED: at this very tick


class After(IntEnum):
    """What has been said last."""

    START = 0
    METER = auto()
    TIME = auto()
    TEMPO = auto()
    KEY = auto()
    PROGRAM = auto()
    PITCH = auto()  # a pitch pressed, whose velocity must follow
    NOTE = auto()  # a pitch pressed, with its velocity if those are told
    RELEASED = auto()


FIELDS = ("after", "meter", "now", "anchor", "bars", "rank", "tokens", "ended")


class OnOffGrammar:
    """`bars` > 0: pieces of exactly so many bars, `length` > 0: of at most so many tokens in all."""

    def __init__(self, vocabulary: Vocabulary, eos_id: int, bars: int, length: int) -> None:
        grid = vocabulary.grid
        self.programs, self.velocities = grid.programs is not None, vocabulary.velocities
        self.note = 2 + self.programs + self.velocities  # tokens of one, the time that it lasts included
        least = self.note + bool(grid.meters)
        if bars < 0 or length < 0 or 0 < length < least:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open) or more, a length from {least} on")
        self.eos_id, self.bars, self.length, self.meters = eos_id, bars, length, bool(grid.meters)
        names = [name.partition("_") for name in vocabulary.names]

        def of(*kinds: str) -> Tensor:
            return torch.tensor([id for id, (kind, _, _) in enumerate(names) if kind in kinds], dtype=torch.long)

        def told(ids: Tensor, read: Callable[[str], Any]) -> Tensor:
            return torch.tensor([read(names[id][2]) for id in ids.tolist()], dtype=torch.long)

        self.size = len(names)
        self.told_meters, self.tempos, self.key_marks = of("TimeSig"), of("Tempo"), of("KeySig")
        self.shifts, self.told_programs, self.levels = of("TimeShift"), of("Program"), of("Velocity")
        meters = vocabulary.meters
        numbers = {f"{beats}/{unit}": number for number, (beats, unit) in reversed(list(enumerate(meters)))}
        self.meter_of = told(self.told_meters, lambda value: numbers[value])
        self.bar = torch.tensor([grid.bar(meter) for meter in meters])  # m
        units = sorted(vocabulary.ticks)
        self.unit = torch.tensor([units.index(meter[1]) for meter in meters])  # m
        ticks = [told(self.shifts, vocabulary.ticks[unit].__getitem__) for unit in units]
        self.ticks = torch.stack(ticks)  # u shifts
        self.ranks = vocabulary.ranks
        self.rank_of = told(self.told_programs, lambda value: self.ranks[int(value)])
        low, high = grid.drum_pitches
        drums = self.ranks.get(-1, DRUMS + 1)
        self.on = _Keys(of("NoteOn", "DrumOn"), names, vocabulary.drum_tokens, drums, (low, high))
        self.off = _Keys(of("NoteOff", "DrumOff"), names, vocabulary.drum_tokens, drums, (low, high))
        self.known = torch.zeros(len(self.ranks), 128, dtype=torch.bool)  # pitches that an instrument has
        for rank in self.ranks.values():
            self.known[rank, self.on.pitch[self.on.fit(torch.tensor([rank]))[0]]] = True
        self.after = torch.full((self.size,), int(After.START))
        for ids, after in (
            (self.told_meters, After.METER),
            (self.tempos, After.TEMPO),
            (self.key_marks, After.KEY),
            (self.shifts, After.TIME),
            (self.told_programs, After.PROGRAM),
            (self.levels, After.NOTE),
            (self.on.ids, After.PITCH if self.velocities else After.NOTE),
            (self.off.ids, After.RELEASED),
        ):
            self.after[ids] = int(after)
        self.place = torch.zeros(self.size, dtype=torch.long)  # of an id among those of its kind
        for ids in (self.told_meters, self.shifts, self.told_programs, self.on.ids, self.off.ids):
            self.place[ids] = torch.arange(len(ids))

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        fields = torch.zeros(batch, len(FIELDS), dtype=torch.int64)
        fields[:, FIELDS.index("meter")] = len(self.bar) - 1  # 4/4, until one is told
        return {"fields": fields, "keys": torch.zeros(batch, 128 * len(self.ranks), dtype=torch.int64)}

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        after, meter, now, anchor, bars, rank, tokens, ended = state["fields"].T
        keys = state["keys"]
        pressed, sounds = (keys == PRESSED).any(1), (keys > SILENT).any(1)
        bar = self.bar[meter]
        ticks = self.ticks[self.unit[meter]]  # b shifts
        opening = (after == After.START) & (not self.meters)
        happens = opening | torch.isin(after, _events)
        inside = torch.ones_like(happens)
        fits = torch.ones_like(ticks, dtype=torch.bool)
        if self.bars:
            inside = bars + (now - anchor) // bar < self.bars
            fits = (bars - self.bars)[:, None] * bar[:, None] + (now - anchor)[:, None] + ticks <= 0
        line = ((now - anchor) % bar == 0) & (after == After.TIME) & inside
        changes = (line[:, None] & (self.meter_of != meter[:, None])) | (after == After.START)[:, None]
        result = torch.zeros(len(after), self.size, dtype=torch.bool)
        result[:, self.told_meters] = changes & self.meters
        result[:, self.tempos] = ((opening | torch.isin(after, _before_tempo)) & inside)[:, None]
        result[:, self.key_marks] = ((opening | torch.isin(after, _before_key)) & inside)[:, None]
        result[:, self.shifts] = happens[:, None] & fits
        by_rank = keys.view(len(keys), -1, 128)
        if self.programs:
            silent = (by_rank == SILENT) & self.known & inside[:, None, None]
            ready = ((by_rank == SOUNDING) | silent).any(2)  # b ranks
            result[:, self.told_programs] = happens[:, None] & ready[:, self.rank_of]
            happens = after == After.PROGRAM
        mine = by_rank[torch.arange(len(keys)), rank]  # b 128
        result[:, self.on.ids] = (happens & inside)[:, None] & self.on.fit(rank) & (mine[:, self.on.pitch] == SILENT)
        result[:, self.off.ids] = happens[:, None] & self.off.fit(rank) & (mine[:, self.off.pitch] == SOUNDING)
        result[:, self.levels] = (after == After.PITCH)[:, None]
        if self.length:
            self._in_time(result, self.length - 1 - tokens, pressed, sounds)
        lasted = ((after == After.RELEASED) & ((ended == 1) | sounds)) | ((after == After.TIME) & sounds)
        if self.bars:
            lasted &= bars + (now - anchor - 1) // bar >= self.bars - 1  # at its line the last bar has not begun
        result[:, self.eos_id] = (lasted & ~pressed) | ~result.any(1)
        return result

    def _in_time(self, result: Tensor, left: Tensor, pressed: Tensor, sounds: Tensor) -> None:
        """Takes from `result` (b v) what needs more than the tokens `left` (b,) behind it to a good end."""
        needs = {
            self.levels: torch.ones_like(left),
            self.on.ids: torch.full_like(left, 1 + self.velocities),
            self.off.ids: pressed.long(),
            self.shifts: torch.where(sounds, 0, self.note),
            self.told_programs: torch.full_like(left, self.note - 1),
        }
        for ids, need in needs.items():
            result[:, ids] &= (need <= left)[:, None]
        for ids in (self.told_meters, self.tempos, self.key_marks):
            result[:, ids] &= (left >= self.note)[:, None]

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= self.size)).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        _, meter, now, anchor, bars, rank, tokens, ended = state["fields"].T
        after, place = self.after[ids], self.place[ids]
        keys = state["keys"].clone()

        def chosen(table: Tensor, kind: After, otherwise: Tensor) -> Tensor:
            if not len(table):
                return otherwise
            return torch.where(after == kind, table[place.clamp(max=len(table) - 1)], otherwise)

        told = after == After.METER
        bars = torch.where(told, bars + (now - anchor) // self.bar[meter], bars)
        anchor = torch.where(told, now, anchor)
        moves = after == After.TIME
        row = torch.arange(len(ids))
        shift = self.ticks[self.unit[meter], place.clamp(max=len(self.shifts) - 1)]
        now = torch.where(moves, now + shift, now)
        keys[moves[:, None] & (keys == PRESSED)] = SOUNDING
        rank = chosen(self.rank_of, After.PROGRAM, rank)
        for which, becomes in ((self.on, PRESSED), (self.off, SILENT)):
            rows = row[torch.isin(ids, which.ids)]
            keys[rows, rank[rows] * 128 + which.pitch[place[rows]]] = becomes
        meter = chosen(self.meter_of, After.METER, meter)
        ended = ended | (after == After.RELEASED).long()
        return {"fields": torch.stack((after, meter, now, anchor, bars, rank, tokens + 1, ended), 1), "keys": keys}


_events = torch.tensor([int(a) for a in (After.METER, After.TIME, After.TEMPO, After.KEY, After.NOTE, After.RELEASED)])
_before_tempo = torch.tensor([int(a) for a in (After.METER, After.TIME)])
_before_key = torch.tensor([int(a) for a in (After.METER, After.TIME, After.TEMPO)])


class _Keys:
    """The tokens (n,) that press, or that release."""

    def __init__(
        self, ids: Tensor, names: list[tuple[str, str, str]], own: bool, drums: int, drum_pitches: tuple[int, int]
    ) -> None:
        self.ids, self.own, self.drums = ids, own, drums
        self.pitch = torch.tensor([int(names[id][2]) for id in ids.tolist()])
        self.drum = torch.tensor([names[id][0].startswith("Drum") for id in ids.tolist()])
        self.struck = (self.pitch >= drum_pitches[0]) & (self.pitch <= drum_pitches[1])

    def fit(self, rank: Tensor) -> Tensor:
        """(b n): whether a program of each rank (b,) has them; drums have tokens of their own, or share them."""
        of_drums = self.struck & (self.drum | (not self.own))
        return torch.where((rank == self.drums)[:, None], of_drums, ~self.drum)
