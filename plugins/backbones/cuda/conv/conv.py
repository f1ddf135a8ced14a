"""Mamba's causal convolution with SiLU on CUDA, through the Triton kernels: forward, backward, and what a state keeps.

Shapes: b batch, l length, e channels, k taps, p parts of a row's steps.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from plugins.backbones.cuda.conv.kernels import convolve, convolve_back
from plugins.backbones.cuda.launch import ONE_WARP


@dataclass(frozen=True)
class Plan:
    """Channels and steps of a program, and steps of a tile."""

    channels: int = 128
    steps: int = 64
    ahead: int = 4


PLAN = Plan()


def forward(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None, since: Tensor | None) -> Tensor:
    """y (b l e) in x's type from x (b l e), its channels dense, weight (e k), bias (e), the inputs before x
    (b e k-1) or None for zeros, and `since` (b l) int32, steps since the piece's start, or None."""
    _, length, channels = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    before = None if before is None else before.contiguous()
    convolve[_grid(x)](
        x, before, weight, bias, since, y, length, channels, PLAN.steps, x.stride(1),
        weight.shape[1], PLAN.channels, PLAN.ahead, since is not None, before is not None, **ONE_WARP,
    )  # fmt: skip
    return y


def backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    before: Tensor | None,
    since: Tensor | None,
    grad_x: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of weight, bias and `before` for dense grad_y (b l e); that of x is written to `grad_x` (b l e)."""
    batch, _, channels = x.shape
    taps = weight.shape[1]
    before = None if before is None else before.contiguous()
    grad_before = None if before is None else torch.empty_like(before)
    sums = torch.empty(batch, _grid(x)[0], taps + 1, channels, dtype=torch.float32, device=x.device)
    convolve_back[_grid(x)](
        grad_y, x, before, weight, bias, since, grad_x, grad_before, sums, x.shape[1], channels, PLAN.steps,
        x.stride(1), grad_x.stride(1), taps, PLAN.channels, PLAN.ahead, since is not None, before is not None,
        **ONE_WARP,
    )  # fmt: skip
    total = sums.sum((0, 1))
    return total[:taps].t(), total[taps], grad_before


def window(x: Tensor, before: Tensor, since: Tensor | None) -> Tensor:
    """The inputs that the next call needs (b e k-1), oldest first: 0 where they lie before the piece's start."""
    reach, length = before.shape[2], x.shape[1]
    kept = torch.cat([before[..., min(length, reach) :], x[:, max(0, length - reach) :].transpose(1, 2)], 2)
    if since is None:
        return kept
    distance = torch.arange(reach - 1, -1, -1, device=x.device)  # from the last step
    return kept * (distance <= since[:, -1:])[:, None]


def _grid(x: Tensor) -> tuple[int, int, int]:
    return triton.cdiv(x.shape[1], PLAN.steps), triton.cdiv(x.shape[2], PLAN.channels), x.shape[0]
