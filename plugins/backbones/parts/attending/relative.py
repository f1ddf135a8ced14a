"""Attention whose logits hang on the distance of query and key, by skewing, in blocks of queries.

    logit(i, j) = (q_i . k_j + q_i . e_(i-j)) / sqrt(c)

A block of queries has its logits at once, and they are made again for the backward pass: memory grows with the length,
not with its square.

Shapes: b batch, h heads, l length, c head width, t distances, s queries of a block, f keys up to the block's end.
Source: Huang et al., arXiv 1809.04281, section 3.4.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BLOCK = 128


def skew(by_distance: Tensor) -> Tensor:
    """Logits by distance (b h s f), the farthest first, as logits by key (b h s f); a row's entries move to the right.

    What lies beyond a query, the future, is undefined.
    """
    rows, keys = by_distance.shape[-2:]
    padded = F.pad(by_distance, (0, rows)).contiguous()
    return padded.as_strided(*_moved(padded, rows, keys))


def unskew(by_key: Tensor) -> Tensor:
    """The transpose of `skew`, for logits by key (b h s f) that are 0 in the future."""
    rows, keys = by_key.shape[-2:]
    padded = by_key.new_zeros(*by_key.shape[:-1], keys + rows)
    padded.as_strided(*_moved(padded, rows, keys)).copy_(by_key)
    return padded[..., :keys]


def _moved(padded: Tensor, rows: int, keys: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Size, stride and offset of a view in which each row begins one entry earlier than the row above it."""
    batch, heads, _, width = padded.shape
    return (batch, heads, rows, keys), (heads * rows * width, rows * width, width - 1, 1), rows - 1


class _Relative(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, far: Tensor, first: Tensor | None
    ) -> Tensor:
        out = torch.empty_like(q)
        wide = torch.promote_types(q.dtype, torch.float32)
        sums = q.new_empty(q.shape[:-1], dtype=wide)  # the logarithm of each softmax's sum, (b h l)
        for begin in range(0, q.shape[2], _BLOCK):
            end = min(begin + _BLOCK, q.shape[2])
            logits = _logits(q, k, far, first, begin, end)
            sums[:, :, begin:end] = logits.logsumexp(-1)
            weights = logits.sub_(sums[:, :, begin:end, None]).exp_().to(q.dtype)
            out[:, :, begin:end] = weights @ v[:, :, :end]
        ctx.save_for_backward(q, k, v, far, first, out, sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, far, first, out, sums = ctx.saved_tensors
        grad = grad.to(q.dtype)
        grad_q, grad_k, grad_v, grad_far = (torch.zeros_like(each) for each in (q, k, v, far))
        inner = (grad * out).to(sums.dtype).sum(-1, keepdim=True)  # (b h l 1)
        scale = q.shape[-1] ** -0.5
        for begin in range(0, q.shape[2], _BLOCK):
            end = min(begin + _BLOCK, q.shape[2])
            block, mine = grad[:, :, begin:end], q[:, :, begin:end]
            weights = _logits(q, k, far, first, begin, end).sub_(sums[:, :, begin:end, None]).exp_()
            through = (block @ v[:, :, :end].transpose(-1, -2)).to(sums.dtype).sub_(inner[:, :, begin:end])
            through = through.mul_(weights).mul_(scale).to(q.dtype)  # gradient of the products, (b h s f)
            grad_v[:, :, :end] += weights.to(q.dtype).transpose(-1, -2) @ block
            grad_k[:, :, :end] += through.transpose(-1, -2) @ mine
            by_distance = unskew(through)
            near = far[:, far.shape[1] - end :]
            grad_q[:, :, begin:end] = through @ k[:, :, :end] + by_distance @ near
            of_table = (by_distance.transpose(-1, -2) @ mine).sum(0)  # (h f c)
            grad_far[:, far.shape[1] - end :] += of_table if len(far) > 1 else of_table.sum(0, keepdim=True)
        return grad_q, grad_k, grad_v, grad_far, None


def _logits(q: Tensor, k: Tensor, far: Tensor, first: Tensor | None, begin: int, end: int) -> Tensor:
    """The logits (b h s f) of queries `begin` to `end`, in float32 at least; minus infinity for what is not seen."""
    mine = q[:, :, begin:end] * q.shape[-1] ** -0.5
    logits = mine @ k[:, :, :end].transpose(-1, -2)
    logits = logits + skew(mine @ far[:, far.shape[1] - end :].transpose(-1, -2))
    steps = torch.arange(end, device=q.device)
    hidden = steps > steps[begin:, None]  # (s f)
    if first is not None:
        hidden = hidden | (steps < first[:, begin:end, None])[:, None]  # (b 1 s f)
    return logits.to(torch.promote_types(q.dtype, torch.float32)).masked_fill(hidden, -torch.inf)


def relative_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor, first: Tensor | None) -> Tensor:
    """Causal attention (b h l c) of q to k, v (b h l c) with `table` (h or 1, t, c) of embedded distances.

    `first` (b l) int64: the first key that each query sees (none: 0).
    """
    length = q.shape[2]
    with torch.autocast(q.device.type, enabled=False):
        distance = torch.arange(length - 1, -1, -1, device=q.device).clamp(max=table.shape[1] - 1)
        far = table.to(q.dtype)[:, distance]  # (h or 1, l, c), the farthest first
        return _Relative.apply(q, k.to(q.dtype), v.to(q.dtype), far, first)  # type: ignore[no-any-return,no-untyped-call]


def relative_lookup(q: Tensor, k: Tensor, v: Tensor, table: Tensor, distance: Tensor, mask: Tensor) -> Tensor:
    """The same for any keys: q (b h l c), k, v (b h f c), `distance` (b l f) and `mask` (b 1 l f) -> (b h l c)."""
    place = distance.clamp(0, table.shape[1] - 1)
    known = table[:, : int(place.max()) + 1].to(q.dtype) if not torch.compiler.is_compiling() else table.to(q.dtype)
    by_distance = q @ known.transpose(-1, -2)  # (b h l t)
    relative = by_distance.gather(-1, place[:, None].expand(-1, q.shape[1], -1, -1))
    logits = (q @ k.to(q.dtype).transpose(-1, -2) + relative) * q.shape[-1] ** -0.5
    weights = logits.masked_fill(~mask, -torch.inf).to(torch.promote_types(q.dtype, torch.float32)).softmax(-1)
    return weights.to(q.dtype) @ v.to(q.dtype)
