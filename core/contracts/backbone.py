"""The contract of a backbone, vectors in and vectors out, and what is done with any backbone's state.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

State = dict[str, Tensor]  # the first dimension of every tensor is the batch


@runtime_checkable
class Backbone(Protocol):
    """A causal sequence model without embedding and head; in practice an `nn.Module`.

    One method trains (`state=None`), prefills (`init_state` and a prompt) and steps (`l == 1`). Optional:
    `embedding_std`, the standard deviation of a new embedding's entries (0.02 otherwise), for a backbone that does not
    normalize what it is given; `positions`, the most tokens of a piece that it has learned places for (`init_state`
    refuses more, and longer pieces are scored in windows); `kernel`, the path taken in words, for the pages of `bench`;
    `activation_checkpointing`, false until a run sets it: then training keeps only what enters each block. A parameter
    that bears `_no_weight_decay = True` does not decay.
    """

    dim: int
    packs: bool  # honours `starts`

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """Maps x (b l d) to hidden states (b l d) and the state after x (None if none was given).

        `starts` (b l) bool is True where a new piece begins: nothing before it may reach it. The given state may be
        written in place: fork before keeping one. Going beyond `max_length` is a ValueError.
        """
        ...

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first token, for at most `max_length` tokens."""
        ...


def select(state: Mapping[str, Tensor], rows: Tensor | Sequence[int]) -> State:
    """Takes the given batch rows, repeats allowed; always a copy."""
    return {key: value[torch.as_tensor(rows, device=value.device)] for key, value in state.items()}


def fork(state: Mapping[str, Tensor]) -> State:
    """An independent copy, so that one may go on and the other be kept."""
    return {key: value.clone() for key, value in state.items()}


def to(state: Mapping[str, Tensor], device: torch.device | str, dtype: torch.dtype | None = None) -> State:
    """Moves a state; only floating-point tensors change their dtype, counters stay integers."""
    return {
        key: value.to(device, dtype if dtype is not None and value.is_floating_point() else None)
        for key, value in state.items()
    }


def nbytes(state: Mapping[str, Tensor]) -> int:
    """Memory of a state in bytes."""
    return sum(value.numel() * value.element_size() for value in state.values())
