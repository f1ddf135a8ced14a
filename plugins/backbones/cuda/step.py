"""One token through a Mamba mixer on CUDA: two Triton kernels around the narrow projection, the state written in place.

Shapes: b batch, e inner width, n states, k taps, r rank of the step size.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from plugins.backbones.cuda.launch import FUSED
from plugins.backbones.cuda.rows import sigmoid, softplus

BLOCK = 64  # channels of a program


@triton.jit
def _convolve(
    xz, window, weight, bias, u, channels, xz_row,
    K: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """u = silu(conv), and the window (b e k-1) moves on by one."""
    row = tl.program_id(1).to(tl.int64)
    e = tl.program_id(0) * E + tl.arange(0, E)
    here = e < channels
    x = tl.load(xz + row * xz_row + e, here, 0.0).to(tl.float32)
    total = tl.load(bias + e, here, 0.0).to(tl.float32) + x * tl.load(weight + e * K + K - 1, here, 0.0).to(tl.float32)
    at = window + (row * channels + e) * (K - 1)
    for j in tl.static_range(K - 1):
        tap = tl.load(at + j, here, 0.0)
        total += tap.to(tl.float32) * tl.load(weight + e * K + j, here, 0.0).to(tl.float32)
        if j > 0:
            tl.store(at + j - 1, tap, here)
    if K > 1:
        tl.store(at + K - 2, x, here)
    tl.store(u + row * channels + e, total * sigmoid(total), here)


@triton.jit
def _advance(
    u, xz, xd, dt_weight, bias, A_log, D, ssm, y, channels, xz_row, xd_row,
    R: tl.constexpr, RP: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """y from u and the state (b e n), which moves on by one; the step size is made of its r ranks here."""
    row = tl.program_id(1).to(tl.int64)
    e = tl.program_id(0) * E + tl.arange(0, E)
    r, n = tl.arange(0, RP), tl.arange(0, NP)
    here = e < channels
    ranks, states = here[:, None] & (r < R)[None, :], here[:, None] & (n < N)[None, :]
    low = tl.load(xd + row * xd_row + r, r < R, 0.0).to(tl.float32)
    spread = tl.load(dt_weight + e[:, None] * R + r[None, :], ranks, 0.0).to(tl.float32)
    dt = softplus(tl.sum(spread * low[None, :], 1) + tl.load(bias + e, here, 0.0).to(tl.float32))
    b = tl.load(xd + row * xd_row + R + n, n < N, 0.0).to(tl.float32)
    c = tl.load(xd + row * xd_row + R + N + n, n < N, 0.0).to(tl.float32)
    x = tl.load(u + row * channels + e, here, 0.0).to(tl.float32)
    z = tl.load(xz + row * xz_row + channels + e, here, 0.0).to(tl.float32)
    rates = -tl.exp(tl.load(A_log + e[:, None] * N + n[None, :], states, 0.0).to(tl.float32))
    at = ssm + (row * channels + e)[:, None] * N + n[None, :]
    h = tl.exp(dt[:, None] * rates) * tl.load(at, states, 0.0) + (dt * x)[:, None] * b[None, :]
    tl.store(at, h, states)
    out = tl.sum(h * c[None, :], 1) + tl.load(D + e, here, 0.0).to(tl.float32) * x
    tl.store(y + row * channels + e, out * z * sigmoid(z), here)


def step(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor,
    x_weight: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    D: Tensor,
    conv: Tensor,
    ssm: Tensor,
) -> Tensor:
    """y (b e) in xz's type from xz (b 2e); conv (b e k-1) and ssm (b e n), both dense, are written. Weights as in
    `inner`, with A = -exp(A_log)."""
    batch, channels, (rank, states) = len(xz), len(D), (dt_weight.shape[1], A_log.shape[1])
    grid = (triton.cdiv(channels, BLOCK), batch)
    u, y = (torch.empty(batch, channels, dtype=xz.dtype, device=xz.device) for _ in range(2))
    _convolve[grid](xz, conv, conv_weight, conv_bias, u, channels, xz.stride(0), conv_weight.shape[1], BLOCK, **FUSED)
    xd = u @ x_weight.to(u.dtype).t()
    _advance[grid](
        u, xz, xd, dt_weight, dt_bias, A_log, D, ssm, y, channels, xz.stride(0), xd.stride(0),
        rank, triton.next_power_of_2(rank), states, triton.next_power_of_2(states), BLOCK, **FUSED,
    )  # fmt: skip
    return y
