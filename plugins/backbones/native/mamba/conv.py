"""The short convolution alone, fused with its SiLU and with its gradient.

Shapes: b batch, l length, e channels, k taps.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.native.mamba.functions import window
from plugins.backbones.native.operators import dense, ops


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, taps: Tensor, bias: Tensor, before: Tensor | None, starts: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, taps, bias, before, starts)
        y: Tensor = ops().conv_forward(x, taps, bias, before, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, taps, bias, before, starts = ctx.saved_tensors
        grad_x = torch.empty(x.shape, dtype=x.dtype)
        grad_taps, grad_bias, grad_before = ops().conv_backward(
            dense(grad, x), None, x, taps, bias, before, starts, grad_x
        )
        return grad_x, grad_taps, grad_bias, None if before is None else grad_before.to(before.dtype), None


def conv(
    x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None, starts: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """silu(bias + sum over j of weight[:, k - 1 - j] x[t - j]) of x (b l e), weight (e k), bias (e), in x's type.

    `before` (b e k-1) holds the inputs before x, oldest first; `starts` (b l) bool. Returns y (b l e) and, if `before`
    was given, the inputs that the next call needs (b e k-1).
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    taps, bias = weight.t().to(wide).contiguous(), bias.to(wide).contiguous()
    starts = None if starts is None else starts.contiguous()
    past = None if before is None else before.transpose(1, 2).to(x.dtype).contiguous()  # (b k-1 e)
    x = x if x.stride(-1) == 1 else x.contiguous()
    y: Tensor = _Conv.apply(x, taps, bias, past, starts)  # type: ignore[no-untyped-call]
    return y, None if past is None else window(x, past, starts)
