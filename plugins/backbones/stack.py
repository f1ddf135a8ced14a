"""What backbones share: blocks one after the other on a residual stream, and the counting of each row's tokens.

A block is a module called as `block(x, state, pieces) -> (x, state)` with `init_state(batch, max_length)`; whatever it
keeps is its own, so that any blocks of one width make a backbone.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from core.contracts.backbone import State
from plugins.backbones.places.positions import check_room, positions

T = TypeVar("T")


class Pieces:
    """Where the pieces of one call lie. What several blocks make of it is made once, by `once`."""

    def __init__(self, x: Tensor, state: State | None, starts: Tensor | None) -> None:
        self.shape = x.shape[:2]
        self.device = x.device
        self.starts = starts  # (b l) bool
        self.before = None if state is None else state["length"]  # (b,) tokens of each row's open piece
        self.limit = None if state is None else state["limit"]  # (b,) tokens that it may have
        self._made: dict[Hashable, Any] = {}

    @cached_property
    def place(self) -> Tensor:
        """How many tokens of its piece precede each token, (b l) int64; (1 l) where all rows are alike."""
        batch = 1 if self.starts is None and self.before is None else self.shape[0]
        return positions(batch, self.shape[1], self.before, self.starts, self.device)

    @property
    def most(self) -> int:
        """Tokens of the longest piece so far; reads one number from the device unless all rows are one new piece.

        0 where that is impossible (export, capture of a CUDA graph).
        """
        if self.starts is None and self.before is None:
            return self.shape[1]
        if torch.compiler.is_compiling() or (self.place.is_cuda and torch.cuda.is_current_stream_capturing()):
            return 0
        return int(self.place.max()) + 1

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made at the call's first request under this key."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found


class Stack(nn.Module):
    """Blocks and a last norm, under the names that the model's own library gives them."""

    packs = True
    activation_checkpointing = False  # in training keeps only what enters each block, and computes the rest again

    def __init__(
        self, dim: int, blocks: Sequence[nn.Module], norm: nn.Module, names: tuple[str, str] = ("layers", "norm")
    ) -> None:
        super().__init__()
        self.dim = dim
        self._names = names
        self.add_module(names[0], nn.ModuleList(blocks))
        self.add_module(names[1], norm)

    @property
    def in_order(self) -> Any:
        """The blocks in their order."""
        return self._modules[self._names[0]]

    @property
    def last_norm(self) -> Any:
        """What follows the last block."""
        return self._modules[self._names[1]]

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """x (b l d) -> hidden (b l d); the state: `length`, `limit` (b,) and, of block i, its own as `key.i`."""
        if state is not None and starts is None and x.shape[1] == 1:
            done = self.fast_step(x, state)
            if done is not None:
                return done
        pieces = Pieces(x, state, starts)
        after: State = {}
        if state is not None:
            check_room(pieces.place, state["limit"])
            after = {"length": pieces.place[:, -1] + 1, "limit": state["limit"]}
        hidden, kept = self.through(self.enter(x, pieces), state, pieces)
        return hidden, None if state is None else after | kept

    def fast_step(self, x: Tensor, state: State) -> tuple[Tensor, State] | None:
        """One token x (b 1 d) at once where a backbone has a way; None: by the blocks."""
        return None

    def enter(self, x: Tensor, pieces: Pieces) -> Tensor:
        """The residual stream of x (b l d): in float32 at least, since sums over blocks do not fit in 8 bits."""
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def through(self, stream: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State]:
        """Hidden (b l d) of the stream (b l d), and what the blocks keep; nothing without a state."""
        parts = parts_of(state)
        after: State = {}
        for i, block in enumerate(self.in_order):
            stream, part = self.called(block)(stream, None if state is None else parts.get(i, {}), pieces)
            if part is not None:
                after |= {f"{key}.{i}": value for key, value in part.items()}
        return self.last_norm(stream), after

    @property
    def computes_twice(self) -> bool:
        """Whether the backward pass computes each block once more."""
        return self.activation_checkpointing and self.training and torch.is_grad_enabled()

    def called(self, block: Callable[..., Any]) -> Callable[..., Any]:
        """A block, or what stands for one, as it is to be called."""
        return partial(_recomputed, block) if self.computes_twice else block

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first of at most `max_length` tokens."""
        device = next(self.parameters()).device
        length = torch.zeros(batch, dtype=torch.int64, device=device)
        state = {"length": length, "limit": torch.full_like(length, max_length)}
        for i, block in enumerate(self.in_order):
            state |= {f"{key}.{i}": value for key, value in block.init_state(batch, max_length).items()}
        return state


def _recomputed(block: Callable[..., Any], *arguments: Any) -> Any:
    """What a block returns; the backward pass calls it once more, with the same dropout."""
    with set_checkpoint_early_stop(False):  # DeepSpeed gathers and frees weights around whole calls
        return checkpoint(block, *arguments, use_reentrant=False)


def parts_of(state: State | None) -> dict[int, State]:
    """Each block's own part of a stack's state."""
    parts: dict[int, State] = {}
    for name, value in (state or {}).items():
        key, dot, i = name.rpartition(".")
        if dot:
            parts.setdefault(int(i), {})[key] = value
    return parts
