"""The grammar of REMI and TSD: whole notes in rising order of time and pitch, none while its own pitch sounds.

Under it every piece drawn decodes to the notes that its tokens name, on the grid and in bars of their meter, and
encoding that music gives them back. Each step looks up tables of what the tokens do (effects.py); on so few
numbers NumPy, on the memory of the tensors, takes a third of the time.

Shapes: b batch, v vocabulary, m meters, n notes of all tokens, k notes of one token at most.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers import compiled as native
from plugins.tokenizers.note_tokens.effects import AS_FOUND, HEAD, Phase
from plugins.tokenizers.note_tokens.grammar.lookup import Array, LookUp
from plugins.tokenizers.note_tokens.grammar.native import native_tables
from plugins.tokenizers.note_tokens.grammar.tables import Tables


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

    def __init__(self, tables: Tables, eos_id: int, bars: int, length: int) -> None:
        needs = tables.vocabulary.needs()
        if bars < 0 or length < 0:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open) or more")
        if 0 < length < needs[Phase.START]:
            raise ValueError(f"length is {length} tokens; one note alone takes {needs[Phase.START]}")
        self.eos_id, self.bars, self.length = eos_id, bars, length
        self.most_needed = max(needs)
        vocabulary = tables.vocabulary
        self.remi, self.silent, self.note = vocabulary.bars, tables.silent, vocabulary.note
        self.meters, self.shift_each = bool(vocabulary.grid.meters), vocabulary.shift_each
        # Phases in which a note of a known program may come, and in which something else may.
        here = {Phase.TIME, Phase.TEMPO, Phase.KEY, Phase.NOTE, *([] if self.remi else [Phase.METER, Phase.START])}
        marks = any(name.startswith(("Tempo_", "KeySig_")) for name in vocabulary.names)
        self.here = np.array([phase in here for phase in Phase])
        self.moves = np.array([phase is not Phase.TIME for phase in Phase])
        self.moves[Phase.TIME] = not self.shift_each and (marks or not self.remi)
        self.look = LookUp(tables, needs)
        limits = {"eos_id": eos_id, "bars": bars, "length": length, "most_needed": self.most_needed}
        limits |= {"note": self.note, "meters_told": int(self.meters), "waits": int(self.moves[Phase.TIME])}
        limits |= {"some": self.look.own_key.shape[1] + 1}
        self.native = native.compiled(lambda: native_tables(tables, needs, _Fields._fields, limits))

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        look = self.look
        meter = len(look.bar) - 1
        fields = dict.fromkeys(_Fields._fields, 0)
        fields |= {"phase": int(Phase.START), "meter": meter, "position": -1, "last_key": -1, "open_key": -1}
        fields["anchor"] = -int(look.bar[meter]) if self.remi else 0  # remi's first bar token leads to 0
        return {
            "fields": torch.tensor([list(fields.values())]).repeat(batch, 1),
            "busy": self.silent.repeat(batch, 1),  # until when each key sounds; keys without a token always do
        }

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        if self.native is not None:
            result = torch.empty(len(state["fields"]), self.look.size, dtype=torch.bool)
            self.native.call("allowed", len(result), state["fields"].contiguous(), state["busy"].contiguous(), result)
            return result
        return self._allowed(state)

    def _allowed(self, state: State) -> Tensor:
        """`allowed` in NumPy."""
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
        self._go_on(state, fields, result)
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

    def _go_on(self, state: State, fields: _Fields, result: Array) -> None:
        """Takes from `result` (b v) the tokens behind which nothing could follow, though the piece could not end."""
        look, busy = self.look, state["busy"].numpy()
        free = (busy[:, :-1] <= fields.now[:, None]).sum(1)
        doubtful = result & (free <= look.own_key.shape[1] + 1)[:, None]  # one token could take the last ones
        if len(look.announce):
            top, last = look.announce_top, look.last[look.announce]
            pitch = look.head_of[look.announce]
            head = np.where(pitch >= 0, fields.program[:, None] * 128 + pitch, fields.open_key[:, None])
            last = np.where(last == AS_FOUND, fields.last_key[:, None], np.where(last == HEAD, head, last))
            good = (busy[:, top] <= fields.now[:, None]) & (top > last) & (top != head) & ~look.announce_own
            doubtful[:, look.announce] |= result[:, look.announce] & ~good
        rows, ids = doubtful.nonzero()
        if len(rows):
            some = {key: value[torch.from_numpy(rows)] for key, value in state.items()}
            result[rows, ids] = self._alive(self._advance(some, torch.from_numpy(ids)))

    def _alive(self, state: State) -> Array:
        """(b,): whether the piece may end here or a note may follow, here or at a later time within bars and length."""
        look, fields, keys = self.look, _fields(state), state["busy"].numpy()[:, :-1]
        phase, meter, now = fields.phase, fields.meter, fields.now
        open = (keys <= now[:, None]) & (np.arange(look.keys) > fields.last_key[:, None])  # b keys
        announced = np.isin(phase, (Phase.PROGRAM, Phase.DRUMS))
        open &= ~announced[:, None] | (np.arange(look.keys) // 128 == fields.program[:, None])
        told = np.isin(phase, (Phase.PITCH, Phase.VELOCITY))
        told |= (phase == int(Phase.NOTE)) & (self._bar(fields) >= self.bars - 1)
        told |= (announced | self.here[phase]) & open.any(1)
        later = ~announced & self.moves[phase]
        step, bar = look.step[meter], look.bar[meter]
        onset = np.maximum(keys.min(1), now + step * self.here[phase])  # of the next note, if the meter stays
        if self.bars:
            later &= onset <= fields.anchor + (self.bars - fields.bars + self.remi) * bar - step
        if self.length:
            if self.remi:
                more = np.maximum(0, (onset - fields.anchor) // bar) * (1 + self.meters)
                cost = more + 1 + (phase == int(Phase.TIME)) + (phase == int(Phase.BAR))
            else:
                cost = (onset - now) // look.longest[meter] + 2 + (phase == int(Phase.START)) * self.meters
            later &= self.note + cost <= self.length - fields.tokens
        return told | later

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
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64).contiguous()
        if self.native is not None:
            fields, busy = state["fields"].contiguous(), state["busy"].contiguous()
            after = {"fields": torch.empty_like(fields), "busy": torch.empty_like(busy)}
            self.native.call("advance", len(ids), fields, busy, ids, *after.values())
            return after
        return self._advance(state, ids)

    def _advance(self, state: State, ids: Tensor) -> State:
        """`advance` in NumPy."""
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
            last_key=np.where(last == AS_FOUND, old.last_key, np.where(last == HEAD, head, last)),
            program=np.where(program < 0, old.program, program),
            open_key=np.where(opened == AS_FOUND, old.open_key, np.where(opened == HEAD, head, opened)),
            notes=old.notes | plays | (after == int(Phase.NOTE)),
            blank=blank,
            tokens=old.tokens + 1,
        )
        return {"fields": _packed(new), "busy": torch.from_numpy(busy)}


def _fields(state: State) -> _Fields:
    return _Fields(*state["fields"].numpy().T)


def _packed(fields: _Fields) -> Tensor:
    """(b f), on the memory of (f b), in which each field lies together."""
    return torch.from_numpy(np.concatenate(fields).reshape(len(fields), -1).T)
