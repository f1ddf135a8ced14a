"""The fused norm of a residual stream, with its gradient.

Under autocast, and for bfloat16 input, products and what lies between operators are bfloat16; sums and states are
float32.

Shapes: b batch, l length, d model width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.native.operators import ops


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, stream: Tensor, branch: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        added, y, scale = ops().norm_forward(stream, branch, weight, eps, stream.new_empty(0, dtype=dtype))
        ctx.save_for_backward(stream if branch is None else added, weight, scale)
        ctx.branch_dtype = None if branch is None else branch.dtype
        ctx.dtype = dtype
        ctx.set_materialize_grads(False)
        return (stream.view_as(stream) if branch is None else added), y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sum: Tensor | None, grad_y: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        added, weight, scale = ctx.saved_tensors
        if grad_y is None:
            grad_y = torch.zeros_like(added, dtype=ctx.dtype)
        grad_sum = None if grad_sum is None else grad_sum.contiguous()
        grad, grad_branch, grad_weight = ops().norm_backward(
            grad_sum, grad_y.contiguous(), added, weight, scale, ctx.branch_dtype is not None
        )
        if ctx.branch_dtype is not None and ctx.branch_dtype == added.dtype:
            grad_branch = grad
        return grad, None if ctx.branch_dtype is None else grad_branch, grad_weight, None, None


def add_norm(
    stream: Tensor, branch: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """stream + branch (b l d), and the norm of that times weight (d) in `dtype`; no branch: nothing is added."""
    branch = None if branch is None else branch.to(dtype).contiguous()
    return _Norm.apply(stream.contiguous(), branch, weight.to(stream.dtype), eps, dtype)  # type: ignore[no-any-return,no-untyped-call]
