"""The grammar of compound words: places rise in a bar, notes rise at a place, and no key is struck twice.

A piece may end behind any note. Without tempos a place is told for its notes only.
Shapes: b batch, v vocabulary of a stream, k streams, j streams that are known, n keys (pairs of instrument and pitch).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.compound.keys import keys_of

if TYPE_CHECKING:
    from plugins.tokenizers.cpword import CpWordTokenizer

PHASE, BARS, NOW, KEY, TOKENS = range(5)
START, IN_BAR, AT_PLACE, IN_NOTES = range(4)
ONE_NOTE = 3  # tokens: bar, place, note


class WordGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens."""

    def __init__(self, tokenizer: "CpWordTokenizer", bars: int, length: int) -> None:
        if bars < 0 or length < 0 or 0 < length < ONE_NOTE:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open), or {ONE_NOTE} tokens for a note")
        self.kinds, self.sizes, self.eos_id = tokenizer.kinds, tokenizer.vocab_sizes, tokenizer.eos_id
        self.bars, self.length = bars, length
        self.bar, self.step = tokenizer.bar, tokenizer.step
        self.lengths = torch.from_numpy(tokenizer.lengths)
        self.key_program, self.key_pitch, self.keys = keys_of(tokenizer)
        self.tempos = "Tempo" in self.kinds
        self.metric, self.note = tokenizer.ids[0]["Family_Metric"], tokenizer.ids[0]["Family_Note"]
        self.first = tokenizer.ids[1]["Position_0"]
        self.places = torch.arange(self.sizes[1] - self.first) * self.step  # ticks in a bar

    def begin(self, batch: int) -> State:
        """`fields` (b 5): phase, bars, now, key of the last note at this place, tokens; `busy` (b n+1): until when each
        key sounds."""
        return {
            "fields": torch.tensor([[START, 0, 0, -1, 0]]).repeat(batch, 1),
            "busy": torch.zeros(batch, len(self.key_pitch) + 1, dtype=torch.int64),
        }

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        """(b v) bool: what may come next in the stream behind those `known` (b j)."""
        if known is None:
            return self._families(state)
        known = known.to("cpu", torch.int64)
        kind, size = self.kinds[known.shape[1]], self.sizes[known.shape[1]]
        note = (known[:, 0] == self.note)[:, None]
        none = torch.arange(size) == 0
        if kind == "Position":
            bar, places = self._moves(state)
            opened = torch.cat((torch.zeros(len(known), 1, dtype=torch.bool), bar[:, None], places), 1)
            return torch.where(note, none, opened)
        if kind == "Tempo":
            return torch.where((known[:, 1] >= self.first)[:, None] & ~note, ~none, none)
        if kind not in ("Program", "Pitch"):
            return torch.where(note, ~none, none)
        free = self._free(state)
        told = self.key_program if kind == "Program" else self.key_pitch
        if kind == "Pitch" and "Program" in self.kinds:
            free &= self.key_program == known[:, self.kinds.index("Program"), None]
        opened = torch.zeros(len(known), size, dtype=torch.int64).index_add_(1, told, free.long()) > 0
        return torch.where(note, opened, none)

    def _families(self, state: State) -> Tensor:
        """(b v): time goes on, a note, or the end."""
        phase, bars, _, _, tokens = state["fields"].T
        bar, places = self._moves(state)
        result = torch.zeros(len(phase), self.sizes[0], dtype=torch.bool)
        result[:, self.metric] = bar | places.any(1)
        note = (phase >= AT_PLACE) & self._free(state).any(1)
        result[:, self.note] = note & (tokens < self.length) if self.length else note
        ends = (phase == IN_NOTES) & (bars >= self.bars)
        result[:, self.eos_id] = ends | ~result.any(1)
        return result

    def _free(self, state: State) -> Tensor:
        """(b n): the keys that may be struck now."""
        _, _, now, key, _ = state["fields"].T
        busy = state["busy"][:, :-1]
        return (busy <= now[:, None]) & (torch.arange(busy.shape[1]) > key[:, None])

    def _moves(self, state: State) -> tuple[Tensor, Tensor]:
        """(b,): whether a bar may come, and (b places): which place in this one."""
        phase, bars, now, _, tokens = state["fields"].T
        left = self.length - 1 - tokens if self.length else torch.full_like(tokens, ONE_NOTE)  # behind the next
        free = state["busy"][:, :-1].min(1).values  # when the first key falls silent
        more = (free // self.bar - bars).clamp(min=0)  # bars to come before it does, behind the next one
        ready = (phase != AT_PLACE) | self.tempos
        bar = ready & (left >= 2 + more * bool(self.length))
        if self.bars:
            bar = bar & (bars + more < self.bars)
        ticks = (bars - 1).clamp(min=0)[:, None] * self.bar + self.places
        later = (phase == IN_BAR)[:, None] | (ticks > now[:, None])
        places = later & (ready & (phase != START) & (left >= 1))[:, None]
        waits = (left >= ONE_NOTE + more * bool(self.length)) & self.tempos  # a place of a tempo alone
        places &= (ticks >= free[:, None]) | waits[:, None]
        return bar, places

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b k) a row; ValueError for an id outside its vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= torch.tensor(self.sizes))).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        told = dict(zip(self.kinds, ids.T, strict=True))
        phase, bars, now, key, tokens = state["fields"].T
        note = ids[:, 0] == self.note
        bar = (ids[:, 0] == self.metric) & (ids[:, 1] == self.first - 1)
        place = (ids[:, 0] == self.metric) & (ids[:, 1] >= self.first)
        bars = bars + bar.long()
        start = (bars - 1).clamp(min=0) * self.bar
        now = torch.where(bar, start, torch.where(place, start + (ids[:, 1] - self.first) * self.step, now))
        struck = self.keys[told.get("Program", torch.zeros_like(now)), told["Pitch"]]
        key = torch.where(note, struck, torch.where(bar | place, -1, key))
        phase = torch.where(note, IN_NOTES, torch.where(bar, IN_BAR, torch.where(place, AT_PLACE, phase)))
        busy, rows = state["busy"].clone(), torch.arange(len(ids))
        at = torch.where(note, struck, busy.shape[1] - 1)
        busy[rows, at] = torch.maximum(busy[rows, at], now + self.lengths[told["Duration"]])
        return {"fields": torch.stack((phase, bars, now, key, tokens + 1), 1), "busy": busy}
