"""The gated delta rule on the fused operators, with its gradient; sums and states are float32 whatever the input.

Shapes: b batch, l length, h heads, c width of keys, v width of values.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.native.operators import dense, ops


class _DeltaRule(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        logs: Tensor,
        beta: Tensor,
        before: Tensor | None,
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        keep = any(ctx.needs_input_grad)
        y, last, borders, news = ops().delta_rule_forward(q, k, v, logs, beta, before, starts, keep)
        ctx.save_for_backward(q, k, v, logs, beta, starts, borders, news)
        ctx.with_state = before is not None
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved = ctx.saved_tensors  # once: they may be computed anew for it
        grad_y = torch.zeros_like(saved[2]) if grad_y is None else dense(grad_y, saved[2])
        grad_last = None if grad_last is None else grad_last.contiguous()
        *grads, before = ops().delta_rule_backward(grad_y, grad_last, *saved)
        return *grads, before if ctx.with_state else None, None


def scan(
    q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor, before: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """o (b l h v), in v's type, and the last state (b h c v).

    From q, k (b l h c), v (b l h v) and, in float32 or in float64 if v is, logs <= 0, beta (b l h), before (b h c v);
    `starts` (b l) bool.
    """
    before = None if before is None else before.to(logs.dtype).contiguous()
    starts = None if starts is None else starts.contiguous()
    q, k = (dense(each, v) for each in (q, k))
    return _DeltaRule.apply(q, k, v, logs.contiguous(), beta.contiguous(), before, starts)  # type: ignore[no-any-return,no-untyped-call]
