"""The selective scan on CUDA, forward and backward, through the Triton kernels.

Shapes: b batch, l length, e channels, n state dimensions, c chunks.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from plugins.backbones.cuda.scan_kernels import combine, differentiate, walk, walk_back

_LOG2E = 1.4426950408889634
_AHEAD = 8  # chunks that `combine` reads at once


@dataclass(frozen=True)
class Plan:
    """How the work is cut: channels of a program and the warps that share them, forward and backward; steps of a chunk;
    steps between the states that the backward walk keeps; and its programs, more than run at once."""

    walk: int = 64
    walk_warps: int = 1
    back: int = 64
    back_warps: int = 1
    chunk: int = 64
    kept: int = 2
    programs: int = 1056


PLAN = Plan()


@dataclass(frozen=True)
class Inputs:
    """What both directions read: u, delta (b l e), z (b l e) and B, C (b l n) with channels dense and any stride over
    steps; A (e n), D, bias (e) in float32; `since` (b l) int32, steps since the piece's start, or None."""

    u: Tensor
    delta: Tensor
    z: Tensor
    B: Tensor
    C: Tensor
    A: Tensor
    D: Tensor
    bias: Tensor
    since: Tensor | None

    @property
    def rates(self) -> Tensor:
        """A (n e) for powers of two."""
        return (self.A.t() * _LOG2E).contiguous()


def forward(x: Inputs, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """y (b l e), the last state (b e n) and the states before the chunks (b c n e), for `backward`."""
    batch, length, channels = x.u.shape
    states, chunks = x.A.shape[1], triton.cdiv(length, PLAN.chunk)
    y, last = torch.empty(x.u.shape, dtype=x.u.dtype, device=x.u.device), x.A.new_empty(batch, channels, states)
    rates = x.rates
    first, sums = x.A.new_empty(batch, chunks, states, channels), x.A.new_empty(batch, chunks, channels)
    if chunks == 1:
        first = _alone(first, before)
    else:
        _walk(x, rates, None, None, None, first, sums)
        _combine(first, sums, rates, before, back=False)
    _walk(x, rates, first, y, last, None, None)
    return y, last, first


@dataclass(frozen=True)
class Gradients:
    """As the inputs are: u, delta (b l e), B, C (b l n), A (e n), D, bias (e), and the state before (b e n)."""

    u: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor
    A: Tensor
    D: Tensor
    bias: Tensor
    before: Tensor


def backward(grad_y: Tensor, grad_last: Tensor | None, x: Inputs, first: Tensor, grad_z: Tensor) -> Gradients:
    """The gradients of `forward`; that of z is written to `grad_z` (b l e)."""
    batch, length, channels = x.u.shape
    states, chunks, padded = x.A.shape[1], first.shape[1], triton.next_power_of_2(x.A.shape[1])
    rates, packed = x.rates, x.since is not None
    behind, sums = torch.empty_like(first), x.A.new_empty(batch, chunks, channels)
    if chunks == 1:
        behind = _alone(behind, grad_last)
    else:
        walk_back[_grid(x)](
            grad_y, x.delta, x.z, x.C, rates, x.bias, x.since, behind, sums,
            length, channels, PLAN.chunk, 0, grad_y.stride(1), x.delta.stride(1), x.z.stride(1), x.C.stride(1),
            states, padded, PLAN.walk, packed, num_warps=PLAN.walk_warps,
        )  # fmt: skip
        _combine(behind, sums, rates, grad_last, back=True)
    dots = x.u.dtype != torch.float32
    if dots:
        padded = max(16, padded)  # rows of a product
    parts = triton.cdiv(channels, PLAN.back)
    programs = min(PLAN.programs, parts * chunks * batch)
    scratch = x.A.new_empty(programs, PLAN.chunk // PLAN.kept, padded, PLAN.back)
    grad_u, grad_delta = (torch.empty(x.u.shape, dtype=x.u.dtype, device=x.u.device) for _ in range(2))
    grad_B, grad_C = (x.A.new_empty(parts, batch, length, states) for _ in range(2))
    grad_A, grad_before = torch.empty_like(first), x.A.new_empty(batch, channels, states)
    grad_D, grad_bias = (x.A.new_empty(batch, chunks, channels) for _ in range(2))
    differentiate[(programs,)](
        grad_y, x.u, x.delta, x.z, x.B, x.C, rates, x.D, x.bias, x.since, first, behind, scratch,
        grad_u, grad_delta, grad_z, grad_B, grad_C, grad_A, grad_D, grad_bias, grad_before,
        batch, length, channels, PLAN.chunk, 0, grad_y.stride(1), x.u.stride(1), x.delta.stride(1), x.z.stride(1),
        x.B.stride(1), grad_z.stride(1), states, padded, PLAN.back, PLAN.kept, packed, dots,
        num_warps=PLAN.back_warps, num_stages=1,
    )  # fmt: skip
    return Gradients(
        u=grad_u,
        delta=grad_delta,
        B=grad_B.sum(0),
        C=grad_C.sum(0),
        A=grad_A.sum((0, 1)).t(),
        D=grad_D.sum((0, 1)),
        bias=grad_bias.sum((0, 1)),
        before=grad_before,
    )


def _alone(like: Tensor, given: Tensor | None) -> Tensor:
    """A state (b e n), or zeros, as what the only chunk finds."""
    return torch.zeros_like(like) if given is None else given.transpose(1, 2)[:, None].to(like.dtype).contiguous()


def _grid(x: Inputs) -> tuple[int, int, int]:
    return triton.cdiv(x.u.shape[2], PLAN.walk), triton.cdiv(x.u.shape[1], PLAN.chunk), x.u.shape[0]


def _walk(
    x: Inputs,
    rates: Tensor,
    first: Tensor | None,
    y: Tensor | None,
    last: Tensor | None,
    ends: Tensor | None,
    sums: Tensor | None,
) -> None:
    _, length, channels = x.u.shape
    states = x.A.shape[1]
    walk[_grid(x)](
        x.u, x.delta, x.z, x.B, x.C, rates, x.D, x.bias, x.since, first, y, last, ends, sums,
        length, channels, PLAN.chunk, 0, x.u.stride(1), x.delta.stride(1), x.z.stride(1), x.B.stride(1), channels,
        states, triton.next_power_of_2(states), PLAN.walk, x.since is not None, y is None, num_warps=PLAN.walk_warps,
    )  # fmt: skip


def _combine(ends: Tensor, sums: Tensor, rates: Tensor, given: Tensor | None, *, back: bool) -> None:
    batch, chunks, states, channels = ends.shape
    combine[(triton.cdiv(channels, PLAN.walk), states, batch)](
        ends, sums, rates, None if given is None else given.contiguous(), channels, chunks,
        states, PLAN.walk, _AHEAD, back, given is not None, num_warps=PLAN.walk_warps,
    )  # fmt: skip
