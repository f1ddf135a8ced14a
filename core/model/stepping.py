"""One token a row, again and again: on CUDA a recorded graph.

Shapes: b batch, d model width, k streams.
"""

from typing import Any

import torch
from torch import Tensor

from core.contracts.backbone import State, fork, select
from core.model.conditioning import Known
from core.model.language_model import LanguageModel
from core.model.recording import pays, recorded


class Stepper:
    """Holds the state of some rows and feeds each one token a call, for about `steps` calls; without gradients.

    `known` (b 1 c) is what holds for each row, whatever the step.
    """

    def __init__(self, model: LanguageModel, state: State, steps: int, known: Known | None = None) -> None:
        self.model, self.state, self.known = model, state, known
        self._slots: Tensor | None = None  # of the recorded batch, where the rows that are left lie
        self._graph: Any = None  # a torch.cuda.CUDAGraph
        if pays(state.values(), steps):
            self._record()

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed."""
        return self._graph is not None

    def __call__(self, ids: Tensor) -> Tensor:
        """Hidden states (b d) after ids (b), of several streams (b k); the next call may overwrite them."""
        if self._graph is None:
            hidden, state = self.model.read(ids[:, None], self.state, known=self.known)
            assert state is not None, "a backbone that is given a state returns one"
            self.state = state
            return hidden[:, -1]
        if self._slots is None:
            self._ids.copy_(ids[:, None])
        else:
            self._ids.index_copy_(0, self._slots, ids[:, None])
        self._graph.replay()
        return self._hidden if self._slots is None else self._hidden[self._slots]

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows alone. A recorded batch keeps its size; the others go on unheard."""
        if self._graph is None:
            self.state = select(self.state, rows)
            self.known = self.known and Known(self.known.values[rows], self.known.given[rows])
        else:
            self._slots = rows if self._slots is None else self._slots[rows]

    def _record(self) -> None:
        batch = len(next(iter(self.state.values())))
        device = next(iter(self.state.values())).device
        self.state = fork(self.state)
        shape = (batch, 1, self.model.streams) if self.model.chain else (batch, 1)
        self._ids = torch.zeros(shape, dtype=torch.int64, device=device)
        self._graph = recorded(
            self._advance, lambda: self.model.read(self._ids, fork(self.state), known=self.known), device
        )

    def _advance(self) -> None:
        """One step from and to the same places in memory."""
        hidden, after = self.model.read(self._ids, self.state, known=self.known)
        assert after is not None, "a backbone that is given a state returns one"
        for key, value in after.items():
            if value is not self.state[key]:
                self.state[key].copy_(value)
        self._hidden = hidden[:, -1]
