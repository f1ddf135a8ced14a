"""The grammar of tokens that are whole notes: they rise in onset, instrument and pitch, and no key is struck twice.

A piece may end behind any note. A place is open where some key is silent, so that the streams behind it have a choice.
Shapes: b batch, v vocabulary of a stream, k streams, j streams that are known, n keys (pairs of instrument and pitch).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.compound.keys import keys_of

if TYPE_CHECKING:
    from plugins.tokenizers.octuple import OctupleTokenizer

NOW, KEY, TEMPO, TOKENS = range(4)


class WholeNoteGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many notes."""

    def __init__(self, tokenizer: "OctupleTokenizer", bars: int, length: int) -> None:
        if bars < 0 or length < 0:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open) or more")
        self.kinds, self.sizes = tokenizer.kinds, tokenizer.vocab_sizes
        self.eos_id, self.length = tokenizer.eos_id, length
        self.first = self.sizes[0] - len([name for name in tokenizer.names[0] if name.startswith("Bar_")])
        most = self.sizes[0] - self.first
        if bars > most:
            raise ValueError(f"bars is {bars}; expected at most {most} (tokenizer.max_bar_embedding)")
        self.bars = bars
        self.bar, self.step = tokenizer.bar, tokenizer.step
        self.lengths = torch.from_numpy(tokenizer.lengths)
        self.key_program, self.key_pitch, self.keys = keys_of(tokenizer)

    def begin(self, batch: int) -> State:
        """`fields` (b 4): onset and key of the last note, its tempo, notes so far; `busy` (b n+1): until when each key
        sounds."""
        return {
            "fields": torch.tensor([[0, -1, 0, 0]]).repeat(batch, 1),
            "busy": torch.zeros(batch, len(self.key_pitch) + 1, dtype=torch.int64),
        }

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        """(b v) bool: what may come next in the stream behind those `known` (b j)."""
        fields, busy = state["fields"], state["busy"][:, :-1]
        if known is None:
            return self._bars(fields, busy)
        known = known.to("cpu", torch.int64)
        kind, size = self.kinds[known.shape[1]], self.sizes[known.shape[1]]
        if kind == "Position":
            onsets = self._bar(known)[:, None] * self.bar + torch.arange(size) * self.step
            return onsets >= self._earliest(fields, busy)[:, None]
        onset = self._onset(known)
        together = (onset == fields[:, NOW]) & (fields[:, TOKENS] > 0)  # b: with the note before
        if kind == "Tempo":
            return ~together[:, None] | (torch.arange(size) == fields[:, TEMPO, None])
        if kind not in ("Program", "Pitch"):
            return torch.ones(len(known), size, dtype=torch.bool)
        free = busy <= onset[:, None]
        free &= ~together[:, None] | (torch.arange(busy.shape[1]) > fields[:, KEY, None])
        result = torch.zeros(len(known), size, dtype=torch.int64)
        if kind == "Program":
            return result.index_add_(1, self.key_program, free.long()) > 0
        if "Program" in self.kinds:
            free &= self.key_program == known[:, self.kinds.index("Program"), None]
        return result.index_add_(1, self.key_pitch, free.long()) > 0

    def _bars(self, fields: Tensor, busy: Tensor) -> Tensor:
        """(b v): the bars in which a note may begin, and the end."""
        bar = torch.arange(self.sizes[0]) - self.first
        most = self.bars or self.sizes[0] - self.first
        last = bar * self.bar + self.bar - self.step
        result = (bar >= 0) & (bar < most) & (last >= self._earliest(fields, busy)[:, None])
        if self.length:
            result &= (fields[:, TOKENS] < self.length)[:, None]
        ends = (fields[:, TOKENS] > 0) & (fields[:, NOW] // self.bar >= self.bars - 1)
        result[:, self.eos_id] = ends | ~result.any(1)
        return result

    def _earliest(self, fields: Tensor, busy: Tensor) -> Tensor:
        """(b,): the first onset at which a key is free that may come next."""
        now = fields[:, NOW]
        above = torch.arange(busy.shape[1]) > fields[:, KEY, None]
        here = ((busy <= now[:, None]) & above).any(1)
        later = torch.maximum(now + self.step, busy.min(1).values)
        return torch.where(here, now, later)

    def _bar(self, tokens: Tensor) -> Tensor:
        return (tokens[:, 0] - self.first).clamp(min=0)

    def _onset(self, tokens: Tensor) -> Tensor:
        return self._bar(tokens) * self.bar + tokens[:, 1] * self.step

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b k) a row; ValueError for an id outside its vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= torch.tensor(self.sizes))).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        told = dict(zip(self.kinds, ids.T, strict=True))
        none = torch.zeros(len(ids), dtype=torch.int64)
        key = self.keys[told.get("Program", none), told["Pitch"]]
        onset = self._onset(ids)
        busy = state["busy"].clone()
        rows = torch.arange(len(ids))
        busy[rows, key] = torch.maximum(busy[rows, key], onset + self.lengths[told["Duration"]])
        tokens = state["fields"][:, TOKENS] + 1
        return {"fields": torch.stack((onset, key, told.get("Tempo", none), tokens), 1), "busy": busy}
