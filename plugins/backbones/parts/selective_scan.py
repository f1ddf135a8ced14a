"""Mamba's selective scan in plain PyTorch: one autograd function that walks time in chunks.

    dt = softplus(delta + delta_bias)
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t
    y_t = (C_t . h_t + D u_t) silu(z_t)

Inside a chunk everything but the recurrence is one vectorized operation; the recurrence is one fused multiply-add a
step, in place. Time comes first and channels last, so that each step's slice is contiguous. Only the states at chunk
borders are kept for the backward pass, which makes the others again.

Shapes: l length, b batch, e channels, n state dimensions, t steps of a chunk.
Source: Gu & Dao, arXiv 2312.00752, section 3.3 and appendix C.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from plugins.backbones.parts.channel_threads import channel_threads, over_channels

# Numbers of one chunk's states: a few buffers of this size stay in the cache of a core.
_CHUNK_NUMBERS = {"cpu": 1 << 18}
_CHUNK_NUMBERS_ELSEWHERE = 1 << 22


class _Chunks:
    """How one call walks time, and where its pieces start."""

    def __init__(self, length: int, step_numbers: int, starts: Tensor | None, device: torch.device) -> None:
        most = _CHUNK_NUMBERS.get(device.type, _CHUNK_NUMBERS_ELSEWHERE)
        self.size = max(1, min(length, most // max(1, step_numbers)))
        self.spans = [(begin, min(length, begin + self.size)) for begin in range(0, length, self.size)]
        self.resets: list[Tensor | None] = [None] * len(self.spans)  # flat indices (step, row) of starts in each chunk
        if starts is not None:
            found = [starts[begin:end].flatten().nonzero().squeeze(1) for begin, end in self.spans]
            self.resets = [index if index.numel() else None for index in found]


def _decay(dt: Tensor, rates: Tensor, reset: Tensor | None, out: Tensor) -> None:
    """exp(dt A), 0 where a piece starts: dt (t b e), rates (n e), out (t b n e)."""
    torch.mul(dt[:, :, None], rates, out=out).exp_()
    if reset is not None:
        out.flatten(0, 1).index_fill_(0, reset, 0)


def _states(drive: Tensor, B: Tensor, decay: Tensor, before: Tensor, out: Tensor) -> None:
    """The states of a chunk from the one before it: drive (t b e), B (t b n), before (b n e), out (t b n e)."""
    torch.mul(drive[:, :, None], B[..., None], out=out)
    for now, factor in zip(out.unbind(0), decay.unbind(0), strict=True):
        before = now.addcmul_(factor, before)


def _over_states(weights: Tensor, x: Tensor) -> Tensor:
    """sum over n of weights (t b n) times x (t b n e), as (t b e)."""
    return torch.bmm(weights.flatten(0, 1)[:, None], x.flatten(0, 1)).view(*x.shape[:2], x.shape[3])


def _over_channels(weights: Tensor, x: Tensor) -> Tensor:
    """sum over e of weights (t b e) times x (t b n e), as (t b n)."""
    return torch.bmm(weights.flatten(0, 1)[:, None], x.flatten(0, 1).transpose(1, 2)).view(x.shape[:3])


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
        threads = channel_threads(channels, length * batch * A.numel(), u.device)
        chunks = _Chunks(length, batch * A.numel() // threads, starts, u.device)
        rates = A.t()  # (n e)
        dt, y, out = (u.new_empty(u.shape) for _ in range(3))
        borders = u.new_empty(len(chunks.spans) + 1, batch, *rates.shape)  # the state before each chunk, and the last
        borders[0] = before.transpose(1, 2)

        def part(e: slice, index: int) -> None:
            torch.add(delta[..., e], delta_bias[e], out=y[..., e])
            torch.ops.aten.softplus.out(y[..., e], out=dt[..., e])
            drive = dt[..., e] * u[..., e]
            local = rates[:, e].contiguous()
            decay = u.new_empty(chunks.size, batch, *local.shape)
            states = torch.empty_like(decay)
            for i, (begin, end) in enumerate(chunks.spans):
                f, h = decay[: end - begin], states[: end - begin]
                _decay(dt[begin:end, :, e], local, chunks.resets[i], f)
                _states(drive[begin:end], B[begin:end], f, borders[i][..., e], h)
                y[begin:end, :, e] = _over_states(C[begin:end], h)
                borders[i + 1][..., e] = h[-1]
            y[..., e].addcmul_(u[..., e], D[e])
            torch.mul(y[..., e], F.silu(z[..., e]), out=out[..., e])

        over_channels(part, channels, threads, u.device)
        ctx.save_for_backward(u, delta, A, B, C, D, z, delta_bias, dt, y, borders)
        ctx.chunks, ctx.threads = chunks, threads
        return out, borders[-1].transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        u, delta, A, B, C, D, z, delta_bias, dt, y, borders = ctx.saved_tensors
        chunks: _Chunks = ctx.chunks
        rates = A.t()
        grad_u, grad_delta, grad_z = (torch.empty_like(dt) for _ in range(3))
        grad_D, grad_bias, grad_rates = torch.empty_like(D), torch.empty_like(D), u.new_empty(rates.shape)
        grad_B, grad_C = u.new_empty(ctx.threads, *B.shape), u.new_empty(ctx.threads, *C.shape)  # one of each per part
        grad_before = u.new_empty(borders.shape[1:])

        def part(e: slice, index: int) -> None:
            x, dx, step, d_step = u[..., e], grad_u[..., e], dt[..., e], grad_delta[..., e]
            grad_y = F.silu(z[..., e]).mul_(grad_out[..., e])
            torch.mul(grad_out[..., e], y[..., e], out=dx)
            torch.ops.aten.silu_backward.grad_input(dx, z[..., e], grad_input=grad_z[..., e])
            drive = step * x
            d_B, d_C = grad_B[index], grad_C[index]
            local = rates[:, e].contiguous()
            d_local = torch.zeros_like(local)
            decay = u.new_empty(chunks.size, borders.shape[1], *local.shape)
            states, grads = torch.empty_like(decay), torch.empty_like(decay)
            carry = grad_last[:, e].transpose(1, 2)  # what later steps want of the state at a chunk's end, (b n e)
            for i, (begin, end) in reversed(list(enumerate(chunks.spans))):
                f, h, g = decay[: end - begin], states[: end - begin], grads[: end - begin]
                before = borders[i][..., e]
                _decay(step[begin:end], local, chunks.resets[i], f)
                _states(drive[begin:end], B[begin:end], f, before, h)
                torch.mul(grad_y[begin:end, :, None], C[begin:end, ..., None], out=g)
                g[-1] += carry
                now, factors = g.unbind(0), f.unbind(0)
                for t in range(end - begin - 1, 0, -1):
                    now[t - 1].addcmul_(factors[t], now[t])
                d_C[begin:end] = _over_channels(grad_y[begin:end], h)
                d_B[begin:end] = _over_channels(drive[begin:end], g)
                dx[begin:end] = _over_states(B[begin:end], g)  # of the drive, for now
                f.mul_(g)
                carry = f[0].clone()
                f[1:].mul_(h[:-1])
                f[0].mul_(before)  # f is now the gradient of dt A
                d_step[begin:end] = torch.mul(f, local, out=g).sum(2)
                d_local += f.mul_(step[begin:end, :, None]).sum((0, 1))
            grad_before[..., e] = carry
            d_step.addcmul_(dx, x)
            dx.mul_(step).addcmul_(grad_y, D[e])
            d_step.mul_(torch.sigmoid(delta[..., e] + delta_bias[e]))
            grad_rates[:, e] = d_local
            grad_D[e] = grad_y.mul_(x).sum((0, 1))
            grad_bias[e] = d_step.sum((0, 1))

        over_channels(part, u.shape[2], ctx.threads, u.device)
        grads = (grad_u, grad_delta, grad_rates.t(), grad_B.sum(0), grad_C.sum(0), grad_D, grad_z, grad_bias)
        return *grads, grad_before.transpose(1, 2), None


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

    `starts` (l b) bool: the state before such a step is dropped. Returns y (l b e) and the last state (b e n), in
    float32, or in float64 if u is.
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
