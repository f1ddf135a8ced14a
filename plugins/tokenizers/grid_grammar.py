"""The grammar of the grid: whole steps of four voices, and an end once something has sounded.

Shapes: b batch, v vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.contracts.grammar import State
from datatools.reading.four_voices import VOICES


class GridGrammar:
    """`specials` are the ids of pad, bos and eos. `exact` > 0: pieces of exactly so many tokens; `length` > 0: of at
    most so many."""

    def __init__(self, vocab_size: int, specials: Sequence[int], exact: int, length: int) -> None:
        if exact < 0 or length < 0:
            raise ValueError(f"bars of {exact} and length of {length} tokens; expected 0 (open) or more")
        if 0 < length < len(VOICES):
            raise ValueError(f"length is {length} tokens; one step alone takes {len(VOICES)}")
        self.eos_id, self.exact = specials[2], exact
        limits = [limit for limit in (exact, length - length % len(VOICES)) if limit]
        self.most = min(limits) if limits else None
        self.symbols = torch.ones(vocab_size, dtype=torch.bool).index_fill(0, torch.tensor(specials), False)

    def begin(self, batch: int) -> State:
        """`tokens` (b,) so far, and whether a note `sounds` (b,) among them."""
        tokens = torch.zeros(batch, dtype=torch.int64)
        return {"tokens": tokens, "sounds": torch.zeros_like(tokens, dtype=torch.bool)}

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: any symbol while there is room, the last one no silence if all before were; the end between
        steps once a note sounded."""
        tokens, sounds = state["tokens"], state["sounds"]
        ends = sounds & (tokens % len(VOICES) == 0)
        if self.exact:
            ends &= tokens >= self.exact
        result = self.symbols.repeat(len(tokens), 1)
        if self.most is not None:
            result &= (tokens < self.most)[:, None]
            result[:, 0] &= sounds | (tokens < self.most - 1)
            ends = ends | (tokens >= self.most)
        result[:, self.eos_id] = ends
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        return {"tokens": state["tokens"] + 1, "sounds": state["sounds"] | (ids > 0)}
