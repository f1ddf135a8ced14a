"""Mamba-2's recurrence on the fused operators, with its gradient; sums and states are float32 whatever the input.

Shapes: b batch, l length, h heads, p channels of a head, g groups, s state dimensions.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.native.operators import dense, ops


class _StateSpace(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        steps: Tensor,
        logs: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        before: Tensor | None,
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        keep = any(ctx.needs_input_grad)
        y, last, borders = ops().state_space_forward(x, steps, logs, B, C, D, before, starts, keep)
        ctx.save_for_backward(x, steps, logs, B, C, D, starts, borders)
        ctx.with_state = before is not None
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, steps, logs, B, C, D, starts, borders = ctx.saved_tensors
        grad_y = torch.zeros_like(x) if grad_y is None else dense(grad_y, x)
        grad_last = None if grad_last is None else grad_last.contiguous()
        *grads, before = ops().state_space_backward(grad_y, grad_last, x, steps, logs, B, C, D, starts, borders)
        return *grads, before if ctx.with_state else None, None


def scan(
    x: Tensor,
    steps: Tensor,
    logs: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    before: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y (b l h p), in x's type, and the last state (b h p s).

    From x (b l h p), B, C (b l g s) of one type, and steps, logs <= 0 (b l h), D (h), before (b h p s) in float32, or
    float64 if x is; `starts` (b l) bool.
    """
    steps, logs, D = (each.contiguous() for each in (steps, logs, D))
    before = None if before is None else before.to(steps.dtype).transpose(-1, -2).contiguous()
    starts = None if starts is None else starts.contiguous()
    y, last = _StateSpace.apply(x, steps, logs, B, C, D, before, starts)  # type: ignore[no-untyped-call]
    return y, last.transpose(-1, -2)
