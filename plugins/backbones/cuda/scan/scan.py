"""The selective scan on CUDA, forward and backward, through the Triton kernels.

Shapes: b batch, l length, e channels, n state dimensions, s segments, c chunks.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import triton
from torch import Tensor

from plugins.backbones.cuda.launch import ONE_WARP
from plugins.backbones.cuda.scan.gradients import differentiate, walk_back
from plugins.backbones.cuda.scan.walks import combine, walk

_LOG2E = 1.4426950408889634
_AHEAD = 8  # segments that `combine` reads at once


@dataclass(frozen=True)
class Plan:
    """How the work is cut: channels of a program, at most; steps of a chunk, before which states are kept; steps of a
    tile in a walk, and in the walk back between the states that it keeps; programs that run at once, eight a
    multiprocessor.
    """

    channels: int = 64
    chunk: int = 32
    ahead: int = 4
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


@lru_cache(maxsize=256)
def segment(programs: int, length: int, summary: float, plan: Plan) -> int:
    """Steps of a segment, whole chunks, where `programs` walk a row each if there is but one segment.

    More segments keep more of the card busy, but all but one of a row are walked once more beforehand, which costs
    `summary` times as much as the walk itself. None is shorter than two chunks, unless the row is.
    """
    chunks = triton.cdiv(length, plan.chunk)

    def cost(of_segment: int) -> float:
        segments = triton.cdiv(chunks, of_segment)
        rounds = triton.cdiv(programs * segments, plan.programs)
        return rounds * of_segment * (1 + summary * (segments - 1) / segments)

    most = min(max(1, chunks // 2), 4 * triton.cdiv(plan.programs, programs))  # beyond, nothing is left to fill
    choices = {triton.cdiv(chunks, segments) for segments in range(1, most + 1)}
    return plan.chunk * min(sorted(choices, reverse=True), key=cost)


def forward(x: Inputs, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """y (b l e), the last state (b e n) and the states before the chunks (b c n e), for `backward`."""
    batch, length, channels = x.u.shape
    states, rates = x.A.shape[1], x.rates
    y, last = torch.empty(x.u.shape, dtype=x.u.dtype, device=x.u.device), x.A.new_empty(batch, channels, states)
    first = x.A.new_empty(batch, triton.cdiv(length, PLAN.chunk), states, channels)
    steps = segment(_blocks(x) * batch, length, 1.0, PLAN)
    ends, sums = _segments(x, steps)
    if ends.shape[1] > 1:
        _walk(x, rates, steps, ends, sums)
    _combine(ends, sums, rates, before, back=False)
    _walk(x, rates, steps, ends, None, (y, first, last))
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
    states, padded, blocks = x.A.shape[1], triton.next_power_of_2(x.A.shape[1]), _blocks(x)
    rates, packed = x.rates, x.since is not None
    steps = segment(blocks * batch, length, 0.25, PLAN)
    behind, sums = _segments(x, steps)
    segments = behind.shape[1]
    if segments > 1:
        walk_back[(blocks, segments - 1, batch)](
            grad_y, x.delta, x.z, x.C, rates, x.bias, x.since, behind, sums,
            length, channels, steps, 0, grad_y.stride(1), x.delta.stride(1), x.z.stride(1), x.C.stride(1),
            states, padded, _width(x), PLAN.ahead, packed, **ONE_WARP,
        )  # fmt: skip
    _combine(behind, sums, rates, grad_last, back=True)
    dots = x.u.dtype != torch.float32
    if dots:
        padded = max(16, padded)  # rows of a product
    programs = min(PLAN.programs, blocks * segments * batch)
    scratch = x.A.new_empty(programs, PLAN.chunk // PLAN.kept, padded, _width(x))
    grad_u, grad_delta = (torch.empty(x.u.shape, dtype=x.u.dtype, device=x.u.device) for _ in range(2))
    grad_B, grad_C = (x.A.new_empty(blocks, batch, length, states) for _ in range(2))
    grad_A, grad_before = torch.empty_like(behind), x.A.new_empty(batch, channels, states)
    grad_D, grad_bias = (torch.empty_like(sums) for _ in range(2))
    differentiate[(programs,)](
        grad_y, x.u, x.delta, x.z, x.B, x.C, rates, x.D, x.bias, x.since, first, behind, scratch,
        grad_u, grad_delta, grad_z, grad_B, grad_C, grad_A, grad_D, grad_bias, grad_before,
        batch, length, channels, steps, PLAN.chunk, 0, grad_y.stride(1), x.u.stride(1), x.delta.stride(1),
        x.z.stride(1), x.B.stride(1), grad_z.stride(1), states, padded, _width(x), PLAN.kept, packed, dots,
        num_stages=1, **ONE_WARP,
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


def _blocks(x: Inputs) -> int:
    """Programs that share the channels of a row."""
    return int(triton.cdiv(x.u.shape[2], _width(x)))


def _width(x: Inputs) -> int:
    """Channels of a program: fewer where each has many states, of which a thread has room for some 32."""
    return min(PLAN.channels, max(16, 1024 // triton.next_power_of_2(x.A.shape[1])))


def _segments(x: Inputs, steps: int) -> tuple[Tensor, Tensor]:
    """Room for what there is of each segment: a state (b s n e) and the sum of step sizes (b s e)."""
    batch, length, channels = x.u.shape
    segments = triton.cdiv(length, steps)
    return x.A.new_empty(batch, segments, x.A.shape[1], channels), x.A.new_empty(batch, segments, channels)


def _walk(
    x: Inputs,
    rates: Tensor,
    steps: int,
    ends: Tensor,
    sums: Tensor | None,
    out: tuple[Tensor, Tensor, Tensor] | None = None,
) -> None:
    """To `ends` and `sums`, but for the last segments; with `out`, y, first and last, from `ends` to those."""
    batch, length, channels = x.u.shape
    states, summary = x.A.shape[1], out is None
    y, first, last = out or (None, None, None)
    walk[(_blocks(x), ends.shape[1] - summary, batch)](
        x.u, x.delta, x.z, x.B, x.C, rates, x.D, x.bias, x.since, None if summary else ends, y, first, last,
        ends if summary else None, sums, length, channels, steps, PLAN.chunk, 0, x.u.stride(1), x.delta.stride(1),
        x.z.stride(1), x.B.stride(1), channels, states, triton.next_power_of_2(states), _width(x), PLAN.ahead,
        x.since is not None, summary, **ONE_WARP,
    )  # fmt: skip


def _combine(ends: Tensor, sums: Tensor, rates: Tensor, given: Tensor | None, *, back: bool) -> None:
    batch, segments, states, channels = ends.shape
    combine[(triton.cdiv(channels, PLAN.channels), states, batch)](
        ends, sums, rates, None if given is None else given.contiguous(), channels, segments,
        states, PLAN.channels, _AHEAD, back, given is not None, **ONE_WARP,
    )  # fmt: skip
