"""The stack of transformer blocks on the fused operators, without a state.

Shapes: b batch, l length, d model width, h heads, k heads of keys and values, c head width.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plugins.backbones.native.norm import add_norm
from plugins.backbones.native.operators import ops
from plugins.backbones.places.positions import positions
from plugins.backbones.places.rotary import angles


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
        first: Tensor | None,
        table: Tensor | None,
    ) -> Tensor:
        y, logs = ops().attention_forward(q, k, v, cos, sin, first, table)
        ctx.save_for_backward(q, k, v, cos, sin, first, table, y, logs)
        return y  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, *given, table, y, logs = ctx.saved_tensors
        grad = grad.to(q.dtype).contiguous()
        *grads, parts = ops().attention_backward(grad, q, *given, table, y, logs)  # the last (b h t c)
        of_table = None if table is None else parts.sum((0, 1) if len(table) == 1 else 0).view_as(table)
        return *grads, None, None, None, of_table


def attention(
    q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, first: Tensor | None, table: Tensor | None = None
) -> Tensor:
    """Causal attention (b l h c) of q (b l h c) to k, v (b l k c), all of one type, q and k before their rotation.

    cos, sin (1 or b, l, c/2) in float32, or float64 if q is; `first` (b l) int64: each token's first key, never before
    that of the token before it (none: 0); `table` (1 or h, t, c) in the type of cos: embedded distances, the last one
    for all beyond, whose products with q are added to those of the keys.
    """
    first = None if first is None else first.contiguous()
    return _Attention.apply(q, k, v, cos, sin, first, table)  # type: ignore[no-any-return,no-untyped-call]


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(gate, up)
        return ops().gate_forward(gate, up)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gate, up = ctx.saved_tensors
        return ops().gate_backward(grad.to(gate.dtype).contiguous(), gate, up)  # type: ignore[no-any-return]


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up for two dense tensors alike."""
    return _Gate.apply(gate.contiguous(), up.contiguous())  # type: ignore[no-any-return,no-untyped-call]


def forward(model: Any, stream: Tensor, starts: Tensor | None) -> Tensor:
    """Blocks and last norm of `plugins.backbones.transformer.Transformer` over stream (b l d) -> hidden (b l d)."""
    norm = model.norm
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else norm.weight.dtype
    batch, length, _ = stream.shape
    width: int = model.layers[0].self_attn.width
    place = positions(1 if starts is None else batch, length, None, starts, stream.device)
    cos, sin = (each.squeeze(2).contiguous() for each in angles(place, width, model.base, stream.dtype))  # type: ignore[arg-type]
    first = None if starts is None else torch.arange(length) - place
    branch: Tensor | None = None
    for layer in model.layers:
        stream, branch = model.called(partial(_block, layer, dtype))(stream, branch, cos, sin, first)
    return add_norm(stream, branch, norm.weight, norm.eps, dtype)[1]


def _block(
    layer: Any,
    dtype: torch.dtype,
    stream: Tensor,
    branch: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    first: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The stream with all branches before the block's last, and that one."""
    stream, x = add_norm(stream, branch, layer.input_layernorm.weight, layer.input_layernorm.eps, dtype)
    mixer, feed, second = layer.self_attn, layer.mlp, layer.post_attention_layernorm
    q, k, v = (project(x).unflatten(-1, (-1, mixer.width)) for project in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
    branch = layer.dropout(mixer.o_proj(attention(q, k, v, cos, sin, first).flatten(2)))
    stream, x = add_norm(stream, branch, second.weight, second.eps, dtype)
    return stream, layer.dropout(feed.down_proj(gated(feed.gate_proj(x), feed.up_proj(x))))
