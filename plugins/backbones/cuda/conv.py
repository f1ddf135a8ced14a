"""Mamba's causal convolution with SiLU on CUDA, in Triton: forward, backward, and the inputs that a state keeps.

    y_t = silu(bias + sum over j of weight[:, k - 1 - j] x_(t - j)), j no further than the piece's start

Shapes: b batch, l length, e channels, k taps, t steps of a tile.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from plugins.backbones.cuda.scan_kernels import sigmoid

TILE, BLOCK = 8, 128  # steps and channels of a program
TILES = 8  # of a program that sums over them


@triton.jit
def _taps(
    x, before, weight, bias, since, row, t, e, there, here, length, channels, x_row,
    K: tl.constexpr, STARTS: tl.constexpr, BEFORE: tl.constexpr,
):  # fmt: skip
    """The sum under the SiLU, (t e)."""
    both = there[:, None] & here[None, :]
    total = tl.zeros((t.shape[0], e.shape[0]), tl.float32) + tl.load(bias + e, here, 0.0).to(tl.float32)[None, :]
    if STARTS:
        reach = tl.load(since + row * length + t, there, 0)
    for j in tl.static_range(K):
        w = tl.load(weight + e * K + (K - 1 - j), here, 0.0).to(tl.float32)
        at = t - j
        seen = both
        if STARTS:
            seen = both & (reach >= j)[:, None]
        inside = seen & (at >= 0)[:, None]
        tap = tl.load(x + (row * length + at)[:, None] * x_row + e[None, :], inside, 0.0).to(tl.float32)
        if BEFORE:
            earlier = seen & (at < 0)[:, None]
            window = (row * channels + e[None, :]) * (K - 1) + (K - 1 + at)[:, None]
            tap += tl.load(before + window, earlier, 0.0).to(tl.float32)
        total += w[None, :] * tap
    return total


@triton.jit
def _forward(
    x, before, weight, bias, since, y, length, channels, x_row,
    K: tl.constexpr, T: tl.constexpr, E: tl.constexpr, STARTS: tl.constexpr, BEFORE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(2).to(tl.int64)
    t, e = tl.program_id(0) * T + tl.arange(0, T), tl.program_id(1) * E + tl.arange(0, E)
    there, here = t < length, e < channels
    total = _taps(
        x, before, weight, bias, since, row, t, e, there, here, length, channels, x_row, K, STARTS, BEFORE
    )  # fmt: skip
    at = (row * length + t)[:, None] * channels + e[None, :]
    tl.store(y + at, total * sigmoid(total), there[:, None] & here[None, :])


@triton.jit
def _backward_sum(
    grad_y, x, before, weight, bias, since, grad_total, grad_weight, length, channels, x_row,
    K: tl.constexpr, T: tl.constexpr, E: tl.constexpr, TILES: tl.constexpr, STARTS: tl.constexpr, BEFORE: tl.constexpr,
):  # fmt: skip
    """Gradients of the sum under the SiLU (b l e), and per TILES tiles of weights and bias, (b parts k+1 e)."""
    row = tl.program_id(2).to(tl.int64)
    e = tl.program_id(1) * E + tl.arange(0, E)
    here = e < channels
    sums = ()
    for _ in tl.static_range(K + 1):
        sums = sums + (tl.zeros((T, E), tl.float32),)
    for i in tl.static_range(TILES):
        t = (tl.program_id(0) * TILES + i) * T + tl.arange(0, T)
        there = t < length
        both = there[:, None] & here[None, :]
        total = _taps(
            x, before, weight, bias, since, row, t, e, there, here, length, channels, x_row, K, STARTS, BEFORE
        )  # fmt: skip
        at = (row * length + t)[:, None] * channels + e[None, :]
        s = sigmoid(total)
        grad = tl.load(grad_y + at, both, 0.0).to(tl.float32) * s * (1.0 + total * (1.0 - s))
        tl.store(grad_total + at, grad, both)
        if STARTS:
            reach = tl.load(since + row * length + t, there, 0)
        added = ()
        for j in tl.static_range(K):
            at = t - j
            seen = both
            if STARTS:
                seen = both & (reach >= j)[:, None]
            inside = seen & (at >= 0)[:, None]
            tap = tl.load(x + (row * length + at)[:, None] * x_row + e[None, :], inside, 0.0).to(tl.float32)
            if BEFORE:
                earlier = seen & (at < 0)[:, None]
                window = (row * channels + e[None, :]) * (K - 1) + (K - 1 + at)[:, None]
                tap += tl.load(before + window, earlier, 0.0).to(tl.float32)
            added = added + (sums[j] + grad * tap,)
        sums = added + (sums[K] + grad,)
    to = grad_weight + (row * tl.num_programs(0) + tl.program_id(0)) * (K + 1) * channels + e
    for j in tl.static_range(K):
        tl.store(to + (K - 1 - j) * channels, tl.sum(sums[j], 0), here)
    tl.store(to + K * channels, tl.sum(sums[K], 0), here)


@triton.jit
def _backward_x(
    grad_total, weight, since, grad_x, low, length, channels, grad_row, stride_b, stride_t, stride_e,
    K: tl.constexpr, T: tl.constexpr, E: tl.constexpr, STARTS: tl.constexpr,
):  # fmt: skip
    """What steps t + j want of x_t, from step `low` on (below 0: of the inputs before x)."""
    row = tl.program_id(2).to(tl.int64)
    t, e = low + tl.program_id(0) * T + tl.arange(0, T), tl.program_id(1) * E + tl.arange(0, E)
    here = e < channels
    grad = tl.zeros((T, E), tl.float32)
    for j in tl.static_range(K):
        later = t + j
        there = (later >= 0) & (later < length)
        if STARTS:
            there = there & (tl.load(since + row * length + later, there, 0) >= j)
        w = tl.load(weight + e * K + (K - 1 - j), here, 0.0).to(tl.float32)
        both = there[:, None] & here[None, :]
        at = (row * length + later)[:, None] * channels + e[None, :]
        grad += w[None, :] * tl.load(grad_total + at, both, 0.0).to(tl.float32)
    written = (t < grad_row)[:, None] & here[None, :]
    at = row * stride_b + (t - low)[:, None].to(tl.int64) * stride_t + e[None, :] * stride_e
    tl.store(grad_x + at, grad, written)


def forward(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None, since: Tensor | None) -> Tensor:
    """y (b l e) in x's type from x (b l e), its channels dense, weight (e k), bias (e), the inputs before x
    (b e k-1) or None for zeros, and `since` (b l) int32, steps since the piece's start, or None."""
    _, length, channels = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    before = None if before is None else before.contiguous()
    _forward[_grid(x, length)](
        x, before, weight, bias, since, y, length, channels, x.stride(1), weight.shape[1], TILE, BLOCK,
        since is not None, before is not None,
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
    batch, length, channels = x.shape
    taps = weight.shape[1]
    before = None if before is None else before.contiguous()
    grad_total = torch.empty_like(grad_y)
    parts = triton.cdiv(length, TILE * TILES)
    sums = torch.empty(batch, parts, taps + 1, channels, dtype=torch.float32, device=x.device)
    _backward_sum[(parts, triton.cdiv(channels, BLOCK), batch)](
        grad_y, x, before, weight, bias, since, grad_total, sums, length, channels, x.stride(1), taps, TILE, BLOCK,
        TILES, since is not None, before is not None,
    )  # fmt: skip
    total = sums.sum((0, 1))
    _backward_x[_grid(x, length)](
        grad_total, weight, since, grad_x, 0, length, channels, length, *grad_x.stride(), taps, TILE, BLOCK,
        since is not None,
    )  # fmt: skip
    grad_before = None
    if before is not None:
        grad_before = torch.empty_like(before)
        if taps > 1:
            _backward_x[_grid(x, taps - 1)](
                grad_total, weight, since, grad_before, 1 - taps, length, channels, 0, grad_before.stride(0), 1,
                taps - 1, taps, TILE, BLOCK, since is not None,
            )  # fmt: skip
    return total[:taps].t(), total[taps], grad_before


def window(x: Tensor, before: Tensor, since: Tensor | None) -> Tensor:
    """The inputs that the next call needs (b e k-1), oldest first: 0 where they lie before the piece's start."""
    reach, length = before.shape[2], x.shape[1]
    kept = torch.cat([before[..., min(length, reach) :], x[:, max(0, length - reach) :].transpose(1, 2)], 2)
    if since is None:
        return kept
    distance = torch.arange(reach - 1, -1, -1, device=x.device)  # from the last step
    return kept * (distance <= since[:, -1:])[:, None]


def _grid(x: Tensor, length: int) -> tuple[int, int, int]:
    return triton.cdiv(length, TILE), triton.cdiv(x.shape[2], BLOCK), x.shape[0]
