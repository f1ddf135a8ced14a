"""The grammar of REMI and TSD: whole notes in rising order of time and pitch, none while its own pitch sounds.

Under it every piece drawn decodes to the notes that its tokens name, on the grid and in bars of their meter, and
encoding that music gives them back. Each step looks up tables of what the tokens do (token_effects.py).

Shapes: b batch, v vocabulary, m meters, n notes of all tokens, k notes of one token at most.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.grammar import State
from plugins.tokenizers.token_effects import HEAD, Effect, Phase, Vocabulary, effect


class NoteGrammar:
    """The automaton; `bars` > 0: pieces of exactly so many bars, `length` > 0: of at most so many tokens in all."""

    def __init__(self, tables: "Tables", eos_id: int, bars: int, length: int) -> None:
        needs = tables.vocabulary.needs()
        if bars < 0 or length < 0:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open) or more")
        if 0 < length < needs[Phase.START]:
            raise ValueError(f"length is {length} tokens; one note alone takes {needs[Phase.START]}")
        self.tables = tables
        self.eos_id, self.bars, self.length = eos_id, bars, length
        self.needs = torch.tensor(needs, dtype=torch.int32)
        self.remi = tables.vocabulary.bars

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        tables = self.tables
        meter = len(tables.bar) - 1
        zero = torch.zeros(batch, dtype=torch.int32)
        return {
            "phase": torch.full((batch,), int(Phase.START)),
            "meter": torch.full((batch,), meter),
            "now": zero,
            # remi's first bar token leads to 0; tsd's anchor is where the last meter was told
            "anchor": zero - (int(tables.bar[meter]) if self.remi else 0),
            "position": zero - 1,
            "bars": zero,  # remi: told; tsd: before the anchor
            "last_key": zero - 1,
            "program": zero,
            "open_key": zero - 1,
            "busy": torch.zeros(batch, tables.keys + 1, dtype=torch.int32),  # until when each key sounds
            "notes": zero.bool(),
            "blank": zero.bool(),
            "tokens": zero,
        }

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        tables = self.tables
        meter, now = state["meter"], state["now"]
        after = tables.phases[state["phase"]]  # b v
        result = (after >= 0) & tables.fits[meter]
        result &= tables.first_position > state["position"][:, None]
        result &= tables.first_key > state["last_key"][:, None]
        result &= ~(tables.blank & state["blank"][:, None])
        if len(tables.heads):
            key = self._head_keys(state)  # b heads
            free = state["busy"].gather(1, key.long()) <= now[:, None]
            rises = (key > state["last_key"][:, None]) & (key < tables.second_key)
            result[:, tables.heads] &= free & rises
        self._keep_apart(state, result)
        if len(tables.told):
            passed = now[:, None] + tables.meter_at[meter] - state["anchor"][:, None]  # b told
            result[:, tables.told] &= passed % tables.bar[meter][:, None] == 0
        if self.bars:
            result &= self._bar_after(state) < self.bars
        if self.length:
            left = self.length - 1 - state["tokens"][:, None]
            result &= self.needs[after.clamp(min=0)] <= left
        return self._ended(state, result)

    def _head_keys(self, state: State) -> Tensor:
        """(b heads): keys of the pitches that tokens begin with, for the program told before."""
        return state["program"][:, None] * 128 + self.tables.head_pitch

    def _keep_apart(self, state: State, result: Tensor) -> None:
        """Takes from `result` (b v) the tokens in which a note would begin while its key sounds."""
        tables, meter = self.tables, state["meter"]
        base = torch.stack((state["now"], state["anchor"]), dim=1)  # b 2
        if len(tables.note_owner):
            onset = base[:, tables.note_anchored] + tables.note_onset[meter]  # b n
            clash = state["busy"][:, tables.note_key] > onset
            _strike(result, tables.note_owner, clash)
        if len(tables.mixed_owner):
            end = base[:, :1] + tables.mixed_end[meter]
            _strike(result, tables.mixed_owner, end > base[:, 1:] + tables.mixed_onset[meter])
        if len(tables.after_owner):
            # a note that a token ends or begins by its head must not sound when the token repeats its key
            head = torch.where(
                tables.after_head >= 0, state["program"][:, None] * 128 + tables.after_head, state["open_key"][:, None]
            )
            end = base[:, :1] + tables.after_end[meter]
            onset = base[:, tables.after_anchored] + tables.after_onset[meter]
            _strike(result, tables.after_owner, (head == tables.after_key) & (end > onset))

    def _bar_after(self, state: State) -> Tensor:
        """(b v): index of the bar in which each token leaves the music."""
        tables, meter = self.tables, state["meter"]
        if self.remi:
            return state["bars"][:, None] + tables.bars[meter] - 1
        now, anchor = state["now"][:, None], state["anchor"][:, None]
        bar = tables.bar[meter][:, None]
        moved = now + tables.now[meter]
        index = state["bars"][:, None] + (moved - anchor) // bar
        if len(tables.told):
            t = tables.told
            before = state["bars"][:, None] + (now + tables.meter_at[meter] - anchor) // bar + tables.bars[meter][:, t]
            length = tables.bar[tables.meter[meter][:, t]]
            index[:, t] = before + (moved[:, t] - now - tables.anchor[meter][:, t]) // length
        return index

    def _bar(self, state: State) -> Tensor:
        """(b,): index of the bar in which the music stands."""
        if self.remi:
            return state["bars"] - 1
        return state["bars"] + (state["now"] - state["anchor"]) // self.tables.bar[state["meter"]]

    def _ended(self, state: State, result: Tensor) -> Tensor:
        """Adds eos where the piece may end, and where nothing else is left: all pitches sound, or no token is."""
        complete = (state["phase"] == int(Phase.NOTE)) & state["notes"]
        ends = complete & (self._bar(state) >= self.bars - 1) if self.bars else complete
        stuck = ~result.any(1)
        result[:, self.eos_id] = ends | stuck
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        tables, meter, now, anchor = self.tables, state["meter"], state["now"], state["anchor"]
        after = tables.phases[state["phase"], ids].long()
        end_of = (meter, ids)
        moved = torch.where(tables.anchored[ids], anchor, now) + tables.now[end_of]
        if self.remi:
            place = anchor + tables.anchor[end_of]
            bars = state["bars"] + tables.bars[end_of]
        else:
            told = tables.tells[ids]
            place = torch.where(told, now + tables.anchor[end_of], anchor)
            passed = (now + tables.first_meter_at[end_of] - anchor) // tables.bar[meter]
            bars = state["bars"] + torch.where(told, passed + tables.bars[end_of], 0)
        begins = tables.head_pitch_of[ids] >= 0
        head = torch.where(begins, state["program"] * 128 + tables.head_pitch_of[ids], state["open_key"])
        base = torch.stack((now, anchor), dim=1)  # b 2
        ends = base.gather(1, tables.own_anchored[ids]) + tables.own_end[end_of]  # b k
        closes = tables.head_closes[ids]
        keys = torch.cat((tables.own_key[ids], torch.where(closes, head, tables.keys)[:, None].long()), dim=1)
        ends = torch.cat((ends, (now + tables.head_end[end_of])[:, None]), dim=1)
        last, opened = tables.last_key[ids], tables.open_key[ids]
        return {
            "phase": torch.where(after >= 0, after, state["phase"]),
            "meter": tables.meter[end_of],
            "now": moved,
            "anchor": place,
            "position": torch.where(tables.position[ids] == -2, state["position"], tables.position[ids]),
            "bars": bars,
            "last_key": torch.where(last == _AS_FOUND, state["last_key"], torch.where(last == HEAD, head, last)),
            "program": torch.where(tables.program[ids] < 0, state["program"], tables.program[ids]),
            "open_key": torch.where(opened == _AS_FOUND, state["open_key"], torch.where(opened == HEAD, head, opened)),
            "busy": state["busy"].scatter_reduce(1, keys, ends, "amax"),
            "notes": state["notes"] | (after == int(Phase.NOTE)) | tables.plays[ids],
            "blank": tables.blank[ids],
            "tokens": state["tokens"] + 1,
        }


_AS_FOUND = -3


def _strike(result: Tensor, owners: Tensor, bad: Tensor) -> None:
    """Clears `result` (b v) at the owners (n,) of what is bad (b n)."""
    hits = torch.zeros(result.shape, dtype=torch.uint8).index_add_(1, owners, bad.to(torch.uint8))
    result &= hits == 0


class Tables:
    """The effects of all tokens as tensors."""

    def __init__(self, vocabulary: Vocabulary, bases: Sequence[Sequence[int]]) -> None:
        self.vocabulary = vocabulary
        meters, size = vocabulary.meters, len(bases)
        effects: list[list[Effect]] = []
        for index in range(len(meters)):
            effects.append([effect(vocabulary, list(base), index) for base in bases])
        first = effects[0]
        special = [not all(_is_music(vocabulary.names[id]) for id in base) for base in bases]
        self.keys = 128 * len(vocabulary.ranks)
        self.bar = _ints([vocabulary.grid.bar(meter) for meter in meters])  # m
        self.phases = _ints(
            [[-1 if special[i] else _after(vocabulary, phase, bases[i]) for i in range(size)] for phase in Phase]
        )
        self.blank = torch.tensor([not base for base in bases])
        self.fits = torch.tensor([[e.fits for e in row] for row in effects])  # m v

        def per_meter(name: str, rows: list[list[Effect]] = effects) -> Tensor:
            return _ints([[getattr(e, name) or 0 for e in row] for row in rows])  # m v

        self.meter = torch.tensor([[e.meter for e in row] for row in effects])
        self.now, self.anchor, self.bars = per_meter("now"), per_meter("anchor"), per_meter("bars")
        self.head_end = per_meter("head_end")
        self.first_meter_at = per_meter("meter_at")
        self.tells = torch.tensor([e.meter_at is not None for e in first])
        self.told = self.tells.nonzero()[:, 0]
        self.meter_at = self.first_meter_at[:, self.told]  # m told
        self.anchored = torch.tensor([e.anchored for e in first])
        self.first_position = _ints([e.first_position for e in first])
        self.first_key = _ints([e.first_key for e in first])
        self.position = _ints([-2 if e.position is None else e.position for e in first])
        self.program = _ints([-1 if e.program is None else e.program for e in first])
        self.head_pitch_of = _ints([-1 if e.head_pitch is None else e.head_pitch for e in first])
        self.heads = (self.head_pitch_of >= 0).nonzero()[:, 0]
        self.head_pitch = self.head_pitch_of[self.heads]
        self.second_key = _ints([e.second_key for e in first])[self.heads]
        self.head_closes = torch.tensor([e.head_end is not None for e in first])
        self.last_key = _ints([_source(e.last_key) for e in first])
        self.open_key = _ints([_source(e.notes[-1].key) if e.open else _AS_FOUND for e in first])
        self.plays = torch.tensor([e.head_end is not None or any(n.end is not None for n in e.notes) for e in first])
        self._own_notes(effects)
        self._note_lists(effects)

    def _own_notes(self, effects: list[list[Effect]]) -> None:
        """Whole notes with keys of their own, by token: (v k), ends (m v k); the key beyond all is nobody's."""
        kept = [[[n for n in e.notes if n.key >= 0 and n.end is not None] for e in row] for row in effects]
        most = max(1, max(len(notes) for notes in kept[0]))

        def padded(values: list[int], filler: int) -> list[int]:
            return values + [filler] * (most - len(values))

        self.own_key = torch.tensor([padded([n.key for n in notes], self.keys) for notes in kept[0]])
        self.own_anchored = torch.tensor([padded([int(n.anchored) for n in notes], 0) for notes in kept[0]])
        self.own_end = _ints([[padded([n.end or 0 for n in notes], 0) for notes in row] for row in kept])

    def _note_lists(self, effects: list[list[Effect]]) -> None:
        """The lists of what must not clash: notes with what sounds, notes of a token with one another."""
        notes: list[tuple[int, int]] = []  # token, index of the note
        mixed: list[tuple[int, int, int]] = []  # token, earlier note counted from now, later one from the anchor
        after: list[tuple[int, int]] = []  # token with a head that ends in it, index of a later note
        for id, played in enumerate(effects[0]):
            for index, note in enumerate(played.notes):
                if note.key < 0:
                    continue
                notes.append((id, index))
                if played.head_end is not None:
                    after.append((id, index))
                mixed += [
                    (id, index, later)
                    for later, other in enumerate(played.notes)
                    if later > index and other.key == note.key and other.anchored and not note.anchored
                    if note.end is not None
                ]
        self.note_owner = torch.tensor([id for id, _ in notes], dtype=torch.long)
        self.note_key = torch.tensor([effects[0][id].notes[i].key for id, i in notes], dtype=torch.long)
        self.note_anchored = torch.tensor([int(effects[0][id].notes[i].anchored) for id, i in notes], dtype=torch.long)
        self.note_onset = _ints([[row[id].notes[i].onset for id, i in notes] for row in effects])  # m n
        self.mixed_owner = torch.tensor([id for id, _, _ in mixed], dtype=torch.long)
        self.mixed_end = _ints([[row[id].notes[i].end for id, i, _ in mixed] for row in effects])
        self.mixed_onset = _ints([[row[id].notes[j].onset for id, _, j in mixed] for row in effects])
        self.after_owner = torch.tensor([id for id, _ in after], dtype=torch.long)
        self.after_key = torch.tensor([effects[0][id].notes[i].key for id, i in after], dtype=torch.long)
        self.after_anchored = torch.tensor([int(effects[0][id].notes[i].anchored) for id, i in after], dtype=torch.long)
        self.after_onset = _ints([[row[id].notes[i].onset for id, i in after] for row in effects])
        self.after_end = _ints([[row[id].head_end for id, _ in after] for row in effects])
        self.after_head = self.head_pitch_of[self.after_owner]


def _ints(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def _is_music(name: str) -> bool:
    return name.partition("_")[0] not in ("PAD", "BOS", "EOS")


def _source(key: int | None) -> int:
    """A key, -1 or HEAD as the tables have it."""
    return _AS_FOUND if key is None else key


def _after(vocabulary: Vocabulary, phase: Phase, base: Sequence[int]) -> int:
    here: Phase | None = phase
    for id in base:
        if here is None:
            return -1
        here = vocabulary.follow(here, vocabulary.names[id])
    return -1 if here is None else int(here)
