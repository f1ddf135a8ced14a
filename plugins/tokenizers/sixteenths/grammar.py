"""Whole steps on a grid of sixteenths, with a note among them.

Shapes: b batch, v vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.contracts.grammar import State

Part = tuple[int, int, tuple[int, ...]]  # a block's first id, how many follow it, and those that strike nothing


class StepGrammar:
    """Of a vocabulary of `size`, the `parts` are due in turn, those of a step after those of the last.

    `exact` > 0: pieces of exactly so many tokens; `length` > 0: of at most so many.
    """

    def __init__(self, parts: Sequence[Part], size: int, eos_id: int, exact: int, length: int) -> None:
        self.width = len(parts)
        if exact < 0 or length < 0 or 0 < length < self.width:
            raise ValueError(f"length is {length} tokens; expected 0 (open) or at least {self.width}, for one step")
        self.eos_id, self.exact = eos_id, exact
        limits = [limit for limit in (exact, length - length % self.width) if limit]
        self.most = min(limits) if limits else None
        self.due = torch.zeros(self.width, size, dtype=torch.bool)  # by place in the step
        self.struck = torch.zeros(size, dtype=torch.bool)
        for at, (first, count, silent) in enumerate(parts):
            self.due[at, first : first + count] = True
            self.struck[first : first + count] = True
            self.struck[[first + none for none in silent]] = False

    def begin(self, batch: int) -> State:
        """`tokens` (b,) so far, and whether a note `sounds` (b,) among them."""
        tokens = torch.zeros(batch, dtype=torch.int64)
        return {"tokens": tokens, "sounds": torch.zeros_like(tokens, dtype=torch.bool)}

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: the symbols of the part that is due, the last one struck if all before were silent; the end
        between steps once a note sounded."""
        tokens, sounds = state["tokens"], state["sounds"]
        ends = sounds & (tokens % self.width == 0)
        if self.exact:
            ends &= tokens >= self.exact
        result = self.due[tokens % self.width]
        if self.most is not None:
            result = result & (tokens < self.most)[:, None]
            result &= (sounds | (tokens < self.most - 1))[:, None] | self.struck
            ends = ends | (tokens >= self.most)
        result[:, self.eos_id] = ends
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        return {"tokens": state["tokens"] + 1, "sounds": state["sounds"] | self.struck[ids]}
