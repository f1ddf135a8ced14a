"""What lies between the projections of a Mamba block, fused, with its gradient.

Under autocast, and for bfloat16 input, products and what lies between operators are bfloat16; sums and states are
float32.

Shapes: b batch, l length, e inner width, n states, k taps, r rank of the step size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.model.linear import outer, product
from plugins.backbones.native.operators import dense, ops


class _Inner(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        xz: Tensor,
        conv_weight: Tensor,
        conv_bias: Tensor,
        x_weight: Tensor,
        dt_weight: Tensor,
        dt_bias: Tensor,
        A: Tensor,
        D: Tensor,
        conv: Tensor | None,
        ssm: Tensor | None,
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            x_narrow, dt_narrow = x_weight.to(xz.dtype), dt_weight.t().to(xz.dtype).contiguous()  # (r+2n e), (r e)
            u = ops().conv_forward(xz, conv_weight, conv_bias, conv, starts)  # (b l e)
            xd = product(u.flatten(0, 1), x_narrow).view(*u.shape[:2], len(x_narrow))  # (b l r+2n)
            y, last, borders = ops().scan_forward(
                u, xz, xd, dt_narrow, A, D, dt_bias, ssm, starts, any(ctx.needs_input_grad)
            )
            ctx.save_for_backward(
                xz, conv_weight, conv_bias, x_narrow, dt_narrow, dt_bias, A, D, conv, starts, u, xd, borders
            )
            ctx.with_state = ssm is not None
            ctx.set_materialize_grads(False)
            return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved = ctx.saved_tensors
        xz, conv_weight, conv_bias, x_weight, dt_weight, dt_bias, A, D, conv, starts, u, xd, borders = saved
        with torch.autocast("cpu", enabled=False):
            grad_y = torch.zeros_like(u) if grad_y is None else dense(grad_y, u)
            grad_xz, r = torch.empty_like(xz), len(dt_weight)
            grad_u, grad_delta, grad_xd, grad_A, grad_D, grad_bias, grad_ssm = ops().scan_backward(
                grad_y, grad_last, u, xz, xd, dt_weight, A, D, dt_bias, starts, borders, grad_xz
            )
            grad_delta, grad_xd, xd = grad_delta.flatten(0, 1), grad_xd.flatten(0, 1), xd.flatten(0, 1)  # (bl ...)
            grad_xd[:, :r] = product(grad_delta, dt_weight)
            grad_dt_weight = outer(grad_delta, xd[:, :r])
            grad_x_weight = outer(grad_xd, u.flatten(0, 1))
            through_xd = product(grad_xd, x_weight.t()).view_as(u)
            grad_weight, grad_conv_bias, grad_conv = ops().conv_backward(
                grad_u, through_xd, xz, conv_weight, conv_bias, conv, starts, grad_xz
            )
        wide = A.dtype
        return (
            grad_xz,
            grad_weight,
            grad_conv_bias,
            grad_x_weight.to(wide),
            grad_dt_weight.to(wide),
            grad_bias,
            grad_A,
            grad_D,
            None if conv is None else grad_conv.to(conv.dtype),
            grad_ssm if ctx.with_state else None,
            None,
        )


def inner(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor,
    x_weight: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    conv: Tensor | None = None,
    ssm: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What lies between a block's two projections: convolution, step size, B and C, scan and gate.

    xz (b l 2e), conv_weight (e k), conv_bias (e), x_weight (r+2n e), dt_weight (e r), dt_bias (e), A (e n) below 0,
    D (e); the state before: conv (b e k-1) inputs, oldest first, and ssm (b e n); `starts` (b l) bool. Returns
    y (b l e) in xz's type, the last ssm and, if `conv` was given, the inputs that the next call needs.
    """
    wide = torch.promote_types(xz.dtype, torch.float32)
    taps = conv_weight.t().to(wide).contiguous()  # (k e)
    rest = (conv_bias, x_weight, dt_weight, dt_bias, A, D)
    bias, x_weight, dt_weight, dt_bias, A, D = (each.to(wide).contiguous() for each in rest)
    starts = None if starts is None else starts.contiguous()
    before = None if conv is None else conv.transpose(1, 2).to(xz.dtype).contiguous()  # (b k-1 e)
    ssm = None if ssm is None else ssm.to(wide)
    xz = xz if xz.stride(-1) == 1 else xz.contiguous()
    y, last = _Inner.apply(xz, taps, bias, x_weight, dt_weight, dt_bias, A, D, before, ssm, starts)  # type: ignore[no-untyped-call]
    return y, last, None if before is None else window(xz[..., : len(A)], before, starts)


def window(x: Tensor, before: Tensor, starts: Tensor | None) -> Tensor:
    """The last k-1 inputs of before (b k-1 e) and x (b l e), zero where they belong to an ended piece, as (b e k-1)."""
    past, length = before.shape[1], x.shape[1]
    after = torch.cat([before, x[:, max(0, length - past) :]], 1)
    after = after[:, after.shape[1] - past :]
    if starts is not None:
        marks = torch.cat([starts.new_zeros(len(x), past), starts], 1)[:, length:].flip(1).long()
        later = (marks.cumsum(1) - marks).flip(1)  # starts after each of the last inputs
        after = after * (later == 0)[..., None]
    return after.transpose(1, 2)
