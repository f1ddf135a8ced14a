"""Mamba's selective scan in plain PyTorch: one autograd function that walks time in chunks.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t,    y_t = (C_t . h_t + D u_t) silu(z_t),    dt = softplus(delta + delta_bias)

Inside a chunk everything but the recurrence is one vectorized operation; the recurrence is one fused multiply-add a step,
in place. Time comes first and channels last, so that each step's slice is contiguous. Only the states at chunk borders are
kept for the backward pass, which makes the others again.

Shapes: l length, b batch, e channels, n state dimensions, t steps of a chunk.
Source: Gu & Dao, arXiv 2312.00752, section 3.3 and appendix C.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Numbers of one chunk's states that work best: a few buffers of this size stay in the cache of a CPU core.
_CHUNK_NUMBERS = 1 << 18


def _chunks(length: int, step_numbers: int) -> list[tuple[int, int]]:
    size = max(1, min(length, _CHUNK_NUMBERS // max(1, step_numbers)))
    return [(begin, min(length, begin + size)) for begin in range(0, length, size)]


def _resets(starts: Tensor | None, chunks: list[tuple[int, int]]) -> list[Tensor | None]:
    """For each chunk the flat indices (step, row) at which a piece starts, None where there is none."""
    if starts is None:
        return [None] * len(chunks)
    found = [starts[begin:end].reshape(-1).nonzero().squeeze(1) for begin, end in chunks]
    return [index if index.numel() else None for index in found]


def _decay(dt: Tensor, A: Tensor, reset: Tensor | None, out: Tensor) -> Tensor:
    """exp(dt A), 0 where a piece starts; out (t b n e)."""
    torch.mul(dt[:, :, None], A, out=out).exp_()
    if reset is not None:
        out.flatten(0, 1).index_fill_(0, reset, 0)
    return out


def _states(drive: Tensor, B: Tensor, decay: Tensor, before: Tensor, out: Tensor) -> Tensor:
    """The states of a chunk from the one before it, (b n e), into out (t b n e)."""
    torch.mul(drive[:, :, None], B[..., None], out=out)
    for now, factor in zip(out.unbind(0), decay.unbind(0), strict=True):
        before = now.addcmul_(factor, before)
    return out


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        z: Tensor,
        delta_bias: Tensor,
        before: Tensor,
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        length, batch, channels = u.shape
        with torch.autocast(u.device.type, enabled=False):
            chunks = _chunks(length, A.numel() * batch)
            resets = _resets(starts, chunks)
            rates = A.t().contiguous()  # (n e)
            dt = F.softplus(delta + delta_bias)
            drive = dt * u
            y = torch.empty_like(drive)
            state = before.transpose(1, 2).contiguous()  # (b n e)
            borders = [state]
            most = chunks[0][1]
            decay = u.new_empty(most, *state.shape)
            states = torch.empty_like(decay)
            for (begin, end), reset in zip(chunks, resets, strict=True):
                size = end - begin
                _decay(dt[begin:end], rates, reset, decay[:size])
                _states(drive[begin:end], B[begin:end], decay[:size], state, states[:size])
                read = torch.bmm(C[begin:end].reshape(-1, 1, C.shape[2]), states[:size].flatten(0, 1))
                y[begin:end] = read.view(size, batch, channels)
                state = states[size - 1].clone()
                borders.append(state)
            y.addcmul_(u, D)
            out = y * F.silu(z)
            ctx.save_for_backward(u, delta, A, B, C, D, z, delta_bias, dt, y, *borders[:-1])
            ctx.chunks, ctx.resets = chunks, resets
            return out, state.transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        u, delta, A, B, C, D, z, delta_bias, dt, y, *borders = ctx.saved_tensors
        batch = u.shape[1]
        with torch.autocast(u.device.type, enabled=False):
            grad_z = torch.ops.aten.silu_backward(grad_out * y, z)
            grad_y = grad_out * F.silu(z)
            grad_D = (grad_y * u).sum((0, 1))
            drive = dt * u
            rates = A.t().contiguous()
            grad_dt, grad_drive = torch.empty_like(dt), torch.empty_like(dt)
            grad_B, grad_C = torch.empty_like(B), torch.empty_like(C)
            grad_rates = torch.zeros_like(rates)
            most = ctx.chunks[0][1]
            decay = u.new_empty(most, *borders[0].shape)
            states, grads = torch.empty_like(decay), torch.empty_like(decay)
            carry = grad_last.transpose(1, 2)  # what later steps want of the state at the chunk's end, (b n e)
            for (begin, end), reset, before in zip(ctx.chunks[::-1], ctx.resets[::-1], borders[::-1], strict=True):
                size = end - begin
                step_dt = dt[begin:end]
                f, h, g = decay[:size], states[:size], grads[:size]
                _decay(step_dt, rates, reset, f)
                _states(drive[begin:end], B[begin:end], f, before, h)
                torch.mul(grad_y[begin:end, :, None], C[begin:end, ..., None], out=g)
                grad_C[begin:end] = _over_channels(h, grad_y[begin:end])
                g[-1] += carry
                now, factors = g.unbind(0), f.unbind(0)
                for t in range(size - 1, 0, -1):
                    now[t - 1].addcmul_(factors[t], now[t])
                grad_B[begin:end] = _over_channels(g, drive[begin:end])
                read = torch.bmm(B[begin:end].reshape(-1, 1, B.shape[2]), g.flatten(0, 1))
                grad_drive[begin:end] = read.view(size, batch, -1)
                f.mul_(g)
                carry = f[0].clone()
                f[1:].mul_(h[:-1])
                f[0].mul_(before)  # f is now the gradient of dt A
                grad_dt[begin:end] = torch.mul(f, rates, out=g).sum(2)
                grad_rates += f.mul_(step_dt[:, :, None]).sum((0, 1))
            grad_dt.addcmul_(grad_drive, u)
            grad_u = grad_drive.mul_(dt).addcmul_(grad_y, D)
            grad_delta = grad_dt.mul_(torch.sigmoid(delta + delta_bias))
            grad_before = carry.transpose(1, 2)
            grad_bias = grad_delta.sum((0, 1))
        return grad_u, grad_delta, grad_rates.t(), grad_B, grad_C, grad_D, grad_z, grad_bias, grad_before, None


def _over_channels(a: Tensor, b: Tensor) -> Tensor:
    """sum over e of a (t b n e) times b (t b e), as (t b n)."""
    return torch.bmm(a.flatten(0, 1), b.flatten(0, 1)[..., None]).view(a.shape[:3])


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    delta_bias: Tensor,
    before: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scan over u, delta, z (l b e), A (e n), B, C (l b n), D, delta_bias (e) from the state `before` (b e n).

    `starts` (l b) bool: the state before such a step is dropped. Returns y (l b e) and the last state (b e n), in float32, or
    in float64 if u is.
    """
    dtype = torch.promote_types(u.dtype, torch.float32)
    if before is None:
        before = u.new_zeros(u.shape[1], *A.shape, dtype=dtype)
    tensors = (u, delta, A, B, C, D, z, delta_bias, before)
    return _SelectiveScan.apply(*(tensor.to(dtype) for tensor in tensors), starts)  # type: ignore[no-any-return]


def selective_step(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of `selective_scan`: u, delta, z (b e), B, C (b n), before (b e n) -> y (b e), state (b e n)."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    u = u.to(dtype)
    dt = F.softplus(delta.to(dtype) + delta_bias)
    decay = torch.exp(dt[..., None] * A)
    state = torch.addcmul((dt * u)[..., None] * B.to(dtype)[:, None], decay, before.to(dtype))
    y = torch.einsum("ben,bn->be", state, C.to(dtype))
    return torch.addcmul(y, u, D.to(dtype)) * F.silu(z.to(dtype)), state
