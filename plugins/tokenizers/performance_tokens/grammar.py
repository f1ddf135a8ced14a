"""The grammar of performance events: a pitch is struck when it does not sound, and released later than it was struck.

A piece may end once every note has lasted; what still sounds then ends with the music.
Shifts of time follow one another greedily, the longest first, so that what is drawn is what encoding it would say.
Shapes: b batch, v vocabulary, e events, p pitches.
"""

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.performance_tokens.events import OFF, ON, SHIFT, VELOCITY, Events

NOTHING = 4  # the kind before any event
ENDLESS = 2**30
SILENT, STRUCK, SOUNDING = range(3)  # STRUCK: in this very step
ONE_NOTE = 2  # tokens: struck, time


class EventGrammar:
    """`length` > 0: pieces of at most so many tokens in all."""

    def __init__(self, events: Events, size: int, eos_id: int, length: int) -> None:
        if length < 0 or 0 < length < ONE_NOTE:
            raise ValueError(f"length is {length} tokens; expected 0 (open) or at least {ONE_NOTE}, for one note")
        self.size, self.eos_id, self.length = size, eos_id, length
        self.kinds, self.values = torch.tensor(events.kinds), torch.tensor(events.values)  # e
        self.low = events.pitches[0]
        self.count = events.pitches[1] - self.low + 1
        self.blocks = [(int(ids[0]), int(ids[-1]) + 1) for ids in ((self.kinds == kind).nonzero() for kind in range(4))]
        self.shifts = torch.tensor(events.shifts)
        self.even = events.shifts == tuple(range(1, len(events.shifts) + 1))  # any two lead where others do
        self.room = torch.tensor([*(b - a for a, b in zip(events.shifts, events.shifts[1:], strict=False)), ENDLESS])

    def begin(self, batch: int) -> State:
        """`fields` (b 4): kind of the last event, time that shifts may still add, tokens, whether a note has ended;
        `keys` (b p): whether each pitch sounds."""
        return {
            "fields": torch.tensor([[NOTHING, ENDLESS, 0, 0]]).repeat(batch, 1),
            "keys": torch.zeros(batch, self.count, dtype=torch.int64),
        }

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        kind, room, tokens, notes = state["fields"].T
        keys = state["keys"]
        sounding = (keys > SILENT).sum(1)  # b
        struck = (keys == STRUCK).any(1)
        ready = kind != VELOCITY  # behind a velocity comes the note that has it
        opens = [
            torch.ones_like(kind, dtype=torch.bool),
            ready,
            ready & (sounding < self.count),
            ready,
        ]
        if self.length:
            left = self.length - 1 - tokens  # behind the next one
            silent = torch.where(sounding > 0, 0, ONE_NOTE)
            needs = [torch.ones_like(left), struck.long(), torch.full_like(left, ONE_NOTE), silent]
            opens = [open & (need <= left) for open, need in zip(opens, needs, strict=True)]
        result = torch.zeros(len(kind), self.size, dtype=torch.bool)
        parts = {ON: keys == SILENT, OFF: keys == SOUNDING, VELOCITY: True, SHIFT: True}
        if not self.even:
            parts[SHIFT] = (kind != SHIFT)[:, None] | (self.shifts < room[:, None])
        for which, (start, end) in enumerate(self.blocks):
            result[:, start:end] = opens[which][:, None] & parts[which]
        lasted = ((kind == OFF) & (notes == 1)) | ((kind == SHIFT) & (sounding > 0))
        result[:, self.eos_id] = lasted & ~struck
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= self.size)).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        events = ids.clamp(max=len(self.kinds) - 1)
        kind = torch.where(ids < len(self.kinds), self.kinds[events], NOTHING)
        old_kind, room, tokens, notes = state["fields"].T
        keys = state["keys"].clone()
        keys[(kind == SHIFT)[:, None] & (keys == STRUCK)] = SOUNDING
        struck, released = (kind == ON).nonzero()[:, 0], (kind == OFF).nonzero()[:, 0]
        keys[struck, self.values[events[struck]] - self.low] = STRUCK
        keys[released, self.values[events[released]] - self.low] = SILENT
        shift = (events - self.blocks[SHIFT][0]).clamp(0, len(self.shifts) - 1)
        before = torch.where(old_kind == SHIFT, room - self.shifts[shift], ENDLESS)
        room = torch.where(kind == SHIFT, torch.minimum(before, self.room[shift]), ENDLESS)
        fields = torch.stack((kind, room, tokens + 1, notes | (kind == OFF).long()), 1)
        return {"fields": fields, "keys": keys}
