"""The CUDA kernels of mamba-ssm and causal-conv1d behind the signatures of our plain functions, when they really work.

An import that succeeds proves nothing (mamba-ssm imports on machines where every call fails), so the kernels are run
once on a small input, forward and backward, and must agree with the plain path.

Shapes: l length, b batch, e channels, n state dimensions, k taps.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.log import logger, warn_once
from core.model.trial import trial
from plugins.backbones.parts.causal_conv import causal_conv
from plugins.backbones.parts.selective_scan import selective_scan

_MOST_STATES = 256  # of selective_scan_cuda
_KERNEL_TAPS = (2, 3, 4)  # of causal_conv1d
_UNDERFLOW = 256.0  # exp(-256) is 0 in float32
_TINY = 2.0**-60  # a step size at which the decay is 1 exactly


@dataclass(frozen=True)
class Kernels:
    """`scan` is mamba_ssm's selective_scan_fn, `conv` causal_conv1d's causal_conv1d_fn."""

    scan: Callable[..., Any]
    conv: Callable[..., Any]

    def selective_scan(
        self,
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
        """As `selective_scan.selective_scan`.

        The kernel knows neither boundaries nor a first state; both are put into its input. At a start the step size is
        so large that the decay is exactly 0, and the input is divided by as much. A first state is built up by n steps
        before the others, each of which adds one of its columns without any decay.
        """
        length = u.shape[0]
        if before is None and starts is None:
            u, delta, B, C, z = (tensor.to(u.dtype).permute(1, 2, 0).contiguous() for tensor in (u, delta, B, C, z))
            y, last = self.scan(u, delta, A.float(), B, C, D.float(), z, delta_bias.float(), True, True)
            return y.permute(2, 0, 1), last
        u, z, B, C, D, A = (tensor.float() for tensor in (u, z, B, C, D, A))
        dt = F.softplus(delta.float() + delta_bias.float())
        scaled = u
        if starts is not None:
            least = A.detach().abs().amin(1)  # (e), the slowest decay of a channel
            huge = torch.exp2(torch.ceil(torch.log2(_UNDERFLOW / least)))
            scaled = torch.where(starts[..., None], u * dt / huge, u)
            dt = torch.where(starts[..., None], huge, dt)
        if before is not None:
            states = A.shape[1]
            scaled = torch.cat([before.float().permute(2, 0, 1) / _TINY, scaled])
            dt = torch.cat([torch.full_like(scaled[:states], _TINY), dt])
            columns = torch.eye(states, device=u.device)[:, None].expand(-1, u.shape[1], -1)
            B, C = torch.cat([columns, B]), torch.cat([torch.zeros_like(columns), C])
        inputs = [tensor.permute(1, 2, 0).contiguous() for tensor in (scaled, dt, B, C)]
        y, last = self.scan(inputs[0], inputs[1], A, inputs[2], inputs[3], None, None, None, False, True)
        y = y.permute(2, 0, 1)[-length:]
        return torch.addcmul(y, u, D) * F.silu(z), last

    def causal_conv(
        self, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `causal_conv.causal_conv`; the kernel runs where it can, which is without a state and with 2 to 4 taps."""
        if before is not None or weight.shape[1] not in _KERNEL_TAPS or x.shape[2] % 8:
            return causal_conv(x, weight, bias, before, starts)
        piece = None if starts is None else starts.cumsum(0).t().int().contiguous()  # (b l)
        rows = x.transpose(0, 1).contiguous().transpose(1, 2)  # (b e l), channels last in memory
        y = self.conv(rows, weight.to(x.dtype), bias.to(x.dtype), seq_idx=piece, activation="silu")
        return y.permute(2, 0, 1), x.new_zeros(x.shape[1], x.shape[2], weight.shape[1] - 1)  # nobody asked for a state


def _agrees(kernels: Kernels) -> bool:
    """Whether outputs and gradients equal the plain path's on a small input, with and without starts and a state."""
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).cuda().requires_grad_()

    length, batch, channels, states, taps = 24, 2, 16, 4, 4
    starts = (torch.rand(length, batch, generator=generator) < 0.2).cuda()
    wide, narrow = (length, batch, channels), (length, batch, states)
    rates = (-torch.rand(channels, states, generator=generator) - 0.5).cuda().requires_grad_()
    scan = [leaf(*wide), leaf(*wide), rates, leaf(*narrow), leaf(*narrow), leaf(channels), leaf(*wide), leaf(channels)]
    conv = [leaf(*wide), leaf(channels, taps), leaf(channels)]
    state = leaf(batch, channels, states)
    cases: list[tuple[Callable[..., Any], Callable[..., Any], list[Tensor], Tensor | None]] = [
        (kernels.selective_scan, selective_scan, scan, None),
        (kernels.selective_scan, selective_scan, scan, state),
        (kernels.causal_conv, causal_conv, conv, None),
    ]
    for ours, plain, inputs, before in cases:
        for marks in (None, starts):
            found, expected = (
                [y, *torch.autograd.grad(y.square().sum(), inputs)]
                for y in (function(*inputs, before, marks)[0] for function in (ours, plain))
            )
            for a, b in zip(found, expected, strict=True):
                if not torch.allclose(a, b, rtol=3e-3, atol=5e-3 * float(b.abs().max())):
                    return False
    return True


@lru_cache(maxsize=1)
def load() -> Kernels | None:
    """The kernels if they work on this machine, else None; says once which path CUDA tensors take."""
    try:
        from causal_conv1d import causal_conv1d_fn
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        kernels = Kernels(selective_scan_fn, causal_conv1d_fn)
        with trial("cuda"):
            agreed = _agrees(kernels)
        if agreed:
            logger.info("mamba: the kernels of mamba-ssm and causal-conv1d run")
            return kernels
        reason = "they disagree with the plain path"
    except Exception as error:  # a broken installation may fail in any way
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    warn_once(f"mamba: the kernels of mamba-ssm and causal-conv1d do not run ({reason}); the slower plain path does")
    return None


def usable(x: Tensor, states: int) -> Kernels | None:
    """The kernels for a layer that reads x, if it lies on a CUDA device, is not float64 and has few enough states."""
    unable = x.dtype == torch.float64 or states > _MOST_STATES
    if not x.is_cuda or unable or os.environ.get("SWAPTUNES_MAMBA") == "plain":
        return None
    return load()
