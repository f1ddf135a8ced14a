"""The draw of a token for some rows, again and again: on CUDA a recorded graph.

Shapes: b batch, d model width, v vocabulary.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from core.model.recording import recorded
from core.model.sampling import Sampling, chosen


class Drawer:
    """Draws an id for each row of a batch whose rows become fewer; `logits` makes (b v) of hidden states (b d).

    `halves` is 2 where `logits` takes two rows for each that is drawn, the second ones behind all first ones. To
    `record` takes the largest batch, its hidden states first; without gradients.
    """

    def __init__(self, logits: Callable[[Tensor], Tensor], sampling: Sampling, halves: int = 1) -> None:
        self.logits, self.sampling, self.halves = logits, sampling, halves
        self._graph: Any = None
        self._places: list[Tensor] = []  # what the recorded draw reads: hidden states, numbers, allowed, seen

    def __call__(self, hidden: Tensor, numbers: Tensor, allowed: Tensor, seen: Tensor) -> Tensor:
        """Ids (b,), or what `chosen` has in place of one; the next call may overwrite them.

        `numbers` (b,) are those of `uniform`, `allowed` and `seen` (b v) bool as in `filtered`.
        """
        if self._graph is None:
            return chosen(self.logits(hidden), self.sampling, numbers, allowed, seen)
        for place, value in zip(self._places[1:], (numbers, allowed, seen), strict=True):
            place[: len(numbers)].copy_(value)
        for place, half in zip(self._places[0].chunk(self.halves), hidden.chunk(self.halves), strict=True):
            place[: len(numbers)].copy_(half)
        self._graph.replay()
        return self._ids[: len(numbers)]

    def record(self, hidden: Tensor, numbers: Tensor, allowed: Tensor, seen: Tensor) -> None:
        """Records the draw of a batch on CUDA; later ones are as large at most. What is not alive is drawn unheard."""
        self._places = [each.clone() for each in (hidden, numbers, allowed, seen)]
        self._graph = recorded(self._draw, self._draw, hidden.device)

    def _draw(self) -> None:
        """One draw from and to the same places in memory."""
        hidden, numbers, allowed, seen = self._places
        self._ids = chosen(self.logits(hidden), self.sampling, numbers, allowed, seen)
