"""What lies between a Mamba block's two projections, on CUDA: convolution, step size, B and C, scan and gate.

Under autocast, and for 16-bit input, products and what lies between kernels are in 16 bits, sums and states float32.
Only the two halves of the first projection, the narrow one and the states before the scan's chunks are kept for the
backward pass: the convolution, and the step sizes from their few ranks, are cheaper to make again than to keep.

Shapes: b batch, l length, e inner width, n states, k taps, r rank of the step size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.cuda.conv import conv as convolution
from plugins.backbones.cuda.scan import scan


def since_start(starts: Tensor) -> Tensor:
    """Steps from each step back to its piece's start, (b l) int32; more than any reach where a row's piece is older."""
    steps = torch.arange(starts.shape[1], device=starts.device)
    latest = torch.where(starts, steps, -(1 << 30)).cummax(1).values
    return (steps - latest).int()


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
        since: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        x_narrow, dt_narrow = x_weight.to(xz.dtype), dt_weight.to(xz.dtype)
        u = convolution.forward(xz.chunk(2, -1)[0], conv_weight, conv_bias, conv, since)
        xd = u @ x_narrow.t()  # (b l r+2n)
        given = _given(u, xd, xz, dt_narrow, dt_bias, A, D, since)
        y, last, first = scan.forward(given, ssm)
        ctx.save_for_backward(xz, xd, conv_weight, conv_bias, x_narrow, dt_narrow, dt_bias, A, D, conv, since, first)
        ctx.types = [None if each is None else each.dtype for each in (x_weight, dt_weight, dt_bias, A, D, conv, ssm)]
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        xz, xd, conv_weight, conv_bias, x_weight, dt_weight, dt_bias, A, D, conv, since, first = ctx.saved_tensors
        u = convolution.forward(xz.chunk(2, -1)[0], conv_weight, conv_bias, conv, since)
        given = _given(u, xd, xz, dt_weight, dt_bias, A, D, since)
        grad_y = torch.zeros_like(u) if grad_y is None else _dense(grad_y.to(xz.dtype))
        grad_xz = torch.empty_like(xz)
        grad_x, grad_z = grad_xz.chunk(2, -1)
        grads = scan.backward(grad_y, grad_last, given, first, grad_z)
        low_rank = xd[..., : dt_weight.shape[1]]
        grad_xd = torch.cat([grads.delta @ dt_weight, grads.B.to(xz.dtype), grads.C.to(xz.dtype)], -1)  # (b l r+2n)
        grad_dt_weight = grads.delta.flatten(0, 1).t() @ low_rank.flatten(0, 1)
        grad_x_weight = grad_xd.flatten(0, 1).t() @ u.flatten(0, 1)
        grad_u = torch.addmm(grads.u.flatten(0, 1), grad_xd.flatten(0, 1), x_weight).view_as(grads.u)
        grad_weight, grad_conv_bias, grad_conv = convolution.backward(
            grad_u, xz.chunk(2, -1)[0], conv_weight, conv_bias, conv, since, grad_x
        )
        x_type, dt_type, bias_type, A_type, D_type, conv_type, ssm_type = ctx.types
        return (
            grad_xz,
            grad_weight.to(conv_weight.dtype),
            grad_conv_bias.to(conv_bias.dtype),
            grad_x_weight.to(x_type),
            grad_dt_weight.to(dt_type),
            grads.bias.to(bias_type),
            grads.A.to(A_type),
            grads.D.to(D_type),
            None if grad_conv is None else grad_conv.to(conv_type),
            None if ssm_type is None else grads.before.to(ssm_type),
            None,
        )


def _dense(x: Tensor) -> Tensor:
    """x without gaps, with the strides of its shape: a dimension of one may have any, and the kernels use them."""
    return x.reshape(-1).view(x.shape)


def _given(
    u: Tensor, xd: Tensor, xz: Tensor, dt_weight: Tensor, dt_bias: Tensor, A: Tensor, D: Tensor, since: Tensor | None
) -> scan.Inputs:
    rank = dt_weight.shape[1]
    low = xd[..., :rank]
    B, C = xd[..., rank:].float().chunk(2, -1)  # every channel reads them: widened once
    return scan.Inputs(u, low @ dt_weight.t(), xz.chunk(2, -1)[1], B, C, A.float(), D.float(), dt_bias.float(), since)


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
    since: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """xz (b l 2e), conv_weight (e k), conv_bias (e), x_weight (r+2n e), dt_weight (e r), dt_bias (e), A (e n) below 0,
    D (e); the state before: conv (b e k-1) inputs, oldest first, and ssm (b e n); `since` (b l) of `since_start`.

    Returns y (b l e) in xz's type, the last ssm in float32 and, if `conv` was given, the inputs that the next call
    needs.
    """
    with torch.autocast("cuda", enabled=False):
        xz, conv_weight, conv_bias, dt_bias, D = map(_dense, (xz, conv_weight, conv_bias, dt_bias, D))
        y, last = _Inner.apply(xz, conv_weight, conv_bias, x_weight, dt_weight, dt_bias, A, D, conv, ssm, since)
        after = None if conv is None else convolution.window(xz.chunk(2, -1)[0], conv, since)
    return y, last, after
