"""The grammar of REMI and TSD: whole notes in rising order of time and pitch, none while its own pitch sounds.

Under it every piece drawn decodes to the notes that its tokens name, on the grid and in bars of their meter, and
encoding that music gives them back. Each step looks up tables of what the tokens do (token_effects.py); on so few
numbers NumPy, on the memory of the tensors, takes a third of the time.

Shapes: b batch, v vocabulary, m meters, n notes of all tokens, k notes of one token at most.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.grammar import State
from plugins.tokenizers.token_effects import HEAD, Effect, Phase, Vocabulary, effect

Array = NDArray[Any]


class _Fields(NamedTuple):
    """The numbers (b,) of a state; flags are 0 and 1."""

    phase: Array
    meter: Array
    now: Array
    anchor: Array  # remi: where the bar begins; tsd: where the last meter was told
    position: Array
    bars: Array  # remi: told; tsd: before the anchor
    last_key: Array
    program: Array
    open_key: Array
    notes: Array
    blank: Array
    tokens: Array


class NoteGrammar:
    """The automaton; `bars` > 0: pieces of exactly so many bars, `length` > 0: of at most so many tokens in all."""

    def __init__(self, tables: "Tables", eos_id: int, bars: int, length: int) -> None:
        needs = tables.vocabulary.needs()
        if bars < 0 or length < 0:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open) or more")
        if 0 < length < needs[Phase.START]:
            raise ValueError(f"length is {length} tokens; one note alone takes {needs[Phase.START]}")
        self.eos_id, self.bars, self.length = eos_id, bars, length
        self.most_needed = max(needs)
        self.remi = tables.vocabulary.bars
        self.look = _LookUp(tables, needs)

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        look = self.look
        meter = len(look.bar) - 1
        fields = dict.fromkeys(_Fields._fields, 0)
        fields |= {"phase": int(Phase.START), "meter": meter, "position": -1, "last_key": -1, "open_key": -1}
        fields["anchor"] = -int(look.bar[meter]) if self.remi else 0  # remi's first bar token leads to 0
        return {
            "fields": torch.tensor([list(fields.values())]).repeat(batch, 1),
            "busy": torch.zeros(batch, look.keys + 1, dtype=torch.int64),  # until when each key sounds
        }

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        look, fields, busy = self.look, _fields(state), state["busy"].numpy()
        meter, now = fields.meter, fields.now
        result = look.opens.take(fields.phase * len(look.bar) + meter, 0)
        result &= look.first_position > fields.position[:, None]
        result &= look.first_key > fields.last_key[:, None]
        if look.blanks:
            result &= ~(look.blank & (fields.blank == 1)[:, None])
        if len(look.heads):
            key = fields.program[:, None] * 128 + look.head_pitch  # b heads: for the program told before
            free = busy.reshape(-1).take(key + np.arange(0, busy.size, look.keys + 1)[:, None]) <= now[:, None]
            rises = (key > fields.last_key[:, None]) & (key < look.second_key)
            result[:, look.heads] &= free & rises
        self._keep_apart(fields, busy, result)
        if len(look.told):
            passed = now[:, None] + look.meter_at.take(meter, 0) - fields.anchor[:, None]  # b told
            result[:, look.told] &= passed % look.bar.take(meter)[:, None] == 0
        if self.bars:
            result &= self._bar_after(fields) < self.bars
        if self.length:
            left = self.length - 1 - fields.tokens
            if int(left.min()) < self.most_needed:
                result &= look.needs.take(fields.phase, 0) <= left[:, None]
        return torch.from_numpy(self._ended(fields, result))

    def _keep_apart(self, fields: _Fields, busy: Array, result: Array) -> None:
        """Takes from `result` (b v) the tokens in which a note would begin while its key sounds."""
        look, meter, now, anchor = self.look, fields.meter, fields.now[:, None], fields.anchor[:, None]
        if look.one_note:
            result[:, look.note_tokens] &= busy[:, look.note_keys] <= now
        elif look.notes:
            onset = np.where(look.note_anchored, anchor, now) + look.note_onset.take(meter, 0)  # b n
            look.notes.strike(result, busy.take(look.note_key, 1) > onset)
        if look.mixed:
            look.mixed.strike(result, now + look.mixed_end.take(meter, 0) > anchor + look.mixed_onset.take(meter, 0))
        if look.after:
            # a note that a token ends or begins by its head must not sound when the token repeats its key
            told = fields.program[:, None] * 128 + look.after_head
            head = np.where(look.after_head >= 0, told, fields.open_key[:, None])
            onset = np.where(look.after_anchored, anchor, now) + look.after_onset.take(meter, 0)
            look.after.strike(result, (head == look.after_key) & (now + look.after_end.take(meter, 0) > onset))

    def _bar_after(self, fields: _Fields) -> Array:
        """(b v): index of the bar in which each token leaves the music."""
        look, meter = self.look, fields.meter
        told: Array = look.bars.take(meter, 0)
        before = fields.bars[:, None]
        if self.remi:
            return before + told - 1
        now, anchor = fields.now[:, None], fields.anchor[:, None]
        bar = look.bar.take(meter)[:, None]
        moved = now + look.now.take(meter, 0)
        index: Array = before + (moved - anchor) // bar
        if len(look.told):
            t = look.told
            first = before + (now + look.meter_at.take(meter, 0) - anchor) // bar + told[:, t]
            length = look.bar[look.meter.take(meter, 0)[:, t]]
            index[:, t] = first + (moved[:, t] - now - look.anchor.take(meter, 0)[:, t]) // length
        return index

    def _bar(self, fields: _Fields) -> Array:
        """(b,): index of the bar in which the music stands."""
        if self.remi:
            return fields.bars - 1
        passed: Array = (fields.now - fields.anchor) // self.look.bar.take(fields.meter)
        return fields.bars + passed

    def _ended(self, fields: _Fields, result: Array) -> Array:
        """Adds eos where the piece may end, and where nothing else is left: all pitches sound, or no token is."""
        ends = (fields.phase == int(Phase.NOTE)) & (fields.notes == 1)
        if self.bars:
            ends &= self._bar(fields) >= self.bars - 1
        result[:, self.eos_id] = ends | ~result.any(1)
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        look, old, id = self.look, _fields(state), ids.numpy()
        now, anchor = old.now, old.anchor
        busy = state["busy"].numpy().copy()
        under = old.meter * look.size + id  # where the effects under the meter are
        meter, moves, shift, bars, head_end, meter_at = look.under.take(under, 0).T
        anchored, position, program, head_pitch, closes, last, opened, plays, blank, tells = look.alone.take(id, 0).T
        after = look.phases.take(old.phase * look.size + id)
        moved = np.where(anchored, anchor, now) + moves
        if self.remi:
            place, bars = anchor + shift, old.bars + bars
        else:
            place = np.where(tells, now + shift, anchor)
            passed = (now + meter_at - anchor) // look.bar.take(old.meter)
            bars = old.bars + tells * (passed + bars)
        head = np.where(head_pitch >= 0, old.program * 128 + head_pitch, old.open_key)
        flat = busy.reshape(-1)
        row = np.arange(0, flat.size, look.keys + 1)
        key = row + np.where(closes, head, look.keys)
        flat[key] = np.maximum(flat[key], now + head_end)
        if look.own:
            ends = np.where(look.own_anchored.take(id, 0), anchor[:, None], now[:, None])  # b k
            ends = ends + look.own_end.take(under, 0)
            np.maximum.at(flat, row[:, None] + look.own_key.take(id, 0), ends)
        new = _Fields(
            phase=np.where(after >= 0, after, old.phase),
            meter=meter,
            now=moved,
            anchor=place,
            position=np.where(position == -2, old.position, position),
            bars=bars,
            last_key=np.where(last == _AS_FOUND, old.last_key, np.where(last == HEAD, head, last)),
            program=np.where(program < 0, old.program, program),
            open_key=np.where(opened == _AS_FOUND, old.open_key, np.where(opened == HEAD, head, opened)),
            notes=old.notes | plays | (after == int(Phase.NOTE)),
            blank=blank,
            tokens=old.tokens + 1,
        )
        return {"fields": _packed(new), "busy": torch.from_numpy(busy)}


_AS_FOUND = -3


def _fields(state: State) -> _Fields:
    return _Fields(*state["fields"].numpy().T)


def _packed(fields: _Fields) -> Tensor:
    """(b f), on the memory of (f b), in which each field lies together."""
    return torch.from_numpy(np.concatenate(fields).reshape(len(fields), -1).T)


class _Owners:
    """The tokens that entries of a list belong to, in rising order."""

    def __init__(self, owners: Tensor) -> None:
        self.tokens, self.starts = np.unique(owners.numpy(), return_index=True)

    def __bool__(self) -> bool:
        return len(self.tokens) > 0

    def strike(self, result: Array, bad: Array) -> None:
        """Clears `result` (b v) at the tokens of what is bad (b n)."""
        result[:, self.tokens] &= ~np.logical_or.reduceat(bad, self.starts, axis=1)


class _LookUp:
    """The tables as a step asks for them: rows by phase and meter, by meter and token, and by token."""

    def __init__(self, tables: "Tables", needs: Sequence[int]) -> None:
        def plain(*names: str) -> list[Array]:
            return [getattr(tables, name).numpy().astype(np.int64) for name in names]

        phases = tables.phases.numpy()
        self.size = phases.shape[1]
        self.keys = tables.keys
        opens = (phases >= 0)[:, None] & tables.fits.numpy()  # phase m v
        self.opens = opens.reshape(-1, self.size)
        self.phases = phases.astype(np.int64).ravel()
        self.needs = np.array(needs)[np.maximum(phases, 0)]  # phase v
        self.blank, self.told = tables.blank.numpy(), tables.told.numpy()
        self.blanks = bool(self.blank.any())
        self.first_position, self.first_key = tables.first_position.numpy(), tables.first_key.numpy()
        self.heads = tables.heads.numpy()
        self.head_pitch, self.second_key, self.bar = plain("head_pitch", "second_key", "bar")
        self.meter, self.now, self.anchor, self.bars = plain("meter", "now", "anchor", "bars")
        (self.meter_at,) = plain("meter_at")
        under = plain("meter", "now", "anchor", "bars", "head_end", "first_meter_at")
        self.under = np.stack(under, -1).reshape(-1, len(under))  # (m v) 6
        names = ("anchored", "position", "program", "head_pitch_of", "head_closes", "last_key", "open_key", "plays")
        self.alone = np.stack(plain(*names, "blank", "tells"), -1)  # v 10
        self.own_key, self.own_end = plain("own_key", "own_end")
        self.own_anchored = tables.own_anchored.numpy() == 1
        self.own = bool((self.own_key < self.keys).any())
        self.own_end = self.own_end.reshape(-1, self.own_end.shape[-1])  # (m v) k
        self.notes, self.mixed, self.after = map(_Owners, (tables.note_owner, tables.mixed_owner, tables.after_owner))
        self.note_key, self.note_onset = plain("note_key", "note_onset")
        self.note_anchored, self.after_anchored = tables.note_anchored.numpy() == 1, tables.after_anchored.numpy() == 1
        self.mixed_end, self.mixed_onset = plain("mixed_end", "mixed_onset")
        self.after_key, self.after_onset, self.after_end, self.after_head = plain(
            "after_key", "after_onset", "after_end", "after_head"
        )
        # Without byte pairs each pitch is a token: one note that begins now, in the order of the keys.
        owners, keys = tables.note_owner.numpy(), self.note_key
        self.one_note = bool(
            len(owners)
            and (np.diff(owners) == 1).all()
            and (np.diff(keys) == 1).all()
            and not self.note_anchored.any()
            and not self.note_onset.any()
        )
        if self.one_note:
            self.note_tokens = slice(int(owners[0]), int(owners[-1]) + 1)
            self.note_keys = slice(int(keys[0]), int(keys[-1]) + 1)


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
