"""Mamba's short depthwise convolution over time with SiLU, whose taps do not reach over the start of a piece.

Shapes: l length, b batch, e channels, k taps.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """silu(bias + sum over j of weight[:, k - 1 - j] x[t - j]) for x (l b e), weight (e k), bias (e).

    `before` (b e k-1) holds the inputs before x, oldest first (none: zeros); `starts` (l b) bool. Returns y (l b e) and
    the inputs that the next call needs (b e k-1).
    """
    length, batch, channels = x.shape
    reach = weight.shape[1] - 1
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, weight = x.to(dtype), weight.to(dtype)
    past = x.new_zeros(reach, batch, channels) if before is None else before.permute(2, 0, 1).to(dtype)
    padded = torch.cat([past, x])  # (k-1+l b e)
    y = torch.addcmul(bias.to(dtype), x, weight[:, reach])
    same: Tensor | None = None  # whether the tap of this distance lies in the same piece, (l b 1)
    for distance in range(1, reach + 1):
        tap = padded[reach - distance : reach - distance + length]
        if starts is not None:
            same = _same_piece(starts, distance, same)
            tap = tap * same
        y = torch.addcmul(y, tap, weight[:, reach - distance])
    after = padded[length:]  # (k-1 b e)
    if starts is not None:
        marks = torch.cat([starts.new_zeros(reach, batch), starts])[length:].flip(0).long()
        later = (marks.cumsum(0) - marks).flip(0)  # starts after each of the last inputs
        after = after * (later == 0)[..., None]
    return F.silu(y), after.permute(1, 2, 0)


def _same_piece(starts: Tensor, distance: int, nearer: Tensor | None) -> Tensor:
    """Whether no piece starts in the `distance` steps up to and including each step, (l b 1)."""
    shift = min(distance - 1, len(starts))
    free = torch.cat([starts.new_ones(shift, starts.shape[1]), ~starts[: len(starts) - shift]])
    return free[..., None] if nearer is None else nearer & free[..., None]


def causal_conv_step(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One step of `causal_conv`: x (b e), before (b e k-1) -> y (b e) in float32 at least, after (b e k-1)."""
    window = torch.cat([before, x.to(before.dtype)[..., None]], -1)  # (b e k)
    wide = torch.promote_types(window.dtype, torch.float32)
    return F.silu((window.to(wide) * weight.to(wide)).sum(-1) + bias.to(wide)), window[..., 1:]
