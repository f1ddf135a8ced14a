"""Time cut into chunks, and how far a state reaches in them: decays that do not pass the start of a piece.

Shapes: b batch, l length, n chunks, q steps of a chunk, h heads.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Decays(NamedTuple):
    """Products of decays within a chunk; 0 where a piece starts in between."""

    within: Tensor  # (b n h q q) from after step j to step i; 1 on the diagonal, 0 above it
    into: Tensor  # (b n h q) from before the chunk to step i
    out: Tensor  # (b n h q) from after step j to the chunk's end
    across: Tensor  # (b n h) over the whole chunk


class Chunks:
    """A row of `length` steps as chunks of `size`; the last one is padded."""

    def __init__(self, length: int, size: int, starts: Tensor | None) -> None:
        self.length = length
        self.size = min(size, length)
        self.count = -(-length // self.size)
        self.causal = torch.ones(self.size, self.size, dtype=torch.bool)
        self.piece: Tensor | None = None
        if starts is not None:
            self.causal = self.causal.to(starts.device)
            self.piece = self.split(starts).cumsum(2)  # (b n q), how many starts up to and including each step
        self.causal = self.causal.tril()

    def split(self, x: Tensor) -> Tensor:
        """x (b l ...) -> (b n q ...), zeros at the end."""
        spare = self.count * self.size - self.length
        padded = F.pad(x, (0, 0) * (x.dim() - 2) + (0, spare)) if spare else x
        return padded.unflatten(1, (self.count, self.size))

    def join(self, y: Tensor) -> Tensor:
        """The way back: (b n q ...) -> (b l ...)."""
        return y.flatten(1, 2)[:, : self.length]

    def sees(self) -> Tensor:
        """Which steps j a step i sees: those of its piece up to itself, (b n 1 q q) or (q q) bool."""
        if self.piece is None:
            return self.causal
        return ((self.piece[..., :, None] == self.piece[..., None, :]) & self.causal)[:, :, None]

    def opened(self) -> Tensor | None:
        """Whether a step still belongs to the piece from before its chunk, (b n 1 q) bool; None: all do."""
        return None if self.piece is None else (self.piece == 0)[:, :, None]

    def closing(self) -> Tensor | None:
        """Whether a step belongs to the piece at its chunk's end, (b n 1 q) bool; None: all do."""
        return None if self.piece is None else (self.piece == self.piece[..., -1:])[:, :, None]

    def decays(self, logs: Tensor) -> Decays:
        """From the logarithm of each step's decay (b l h)."""
        # Summed in double precision: a difference of sums of hundreds would lose what a step near 0 adds.
        total = self.split(logs.double()).cumsum(2).movedim(3, 2)  # (b n h q)
        within: Tensor = _Within.apply(total, self.sees().to(total.device), logs.dtype)  # type: ignore[no-untyped-call]
        into, out, across = total, total[..., -1:] - total, total[..., -1]
        opened, closing = self.opened(), self.closing()
        if opened is not None and closing is not None:
            into = into.masked_fill(~opened, -torch.inf)
            out = out.masked_fill(~closing, -torch.inf)
            across = across.masked_fill(~opened[..., -1], -torch.inf)
        return Decays(within, *(each.to(logs.dtype).exp() for each in (into, out, across)))


class _Within(torch.autograd.Function):
    """exp(total_i - total_j) where `sees`, else 0, and its gradient; the largest tensors, so touched seldom."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, sees: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        gap = total[..., :, None] - total[..., None, :]
        within = gap.masked_fill_(~sees, -torch.inf).to(dtype).exp_()
        ctx.save_for_backward(within)
        ctx.wide = total.dtype
        return within

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (within,) = ctx.saved_tensors
        grad = grad * within
        return (grad.sum(-1) - grad.sum(-2)).to(ctx.wide), None, None
