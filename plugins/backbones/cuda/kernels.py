"""Whether the Triton kernels can be used, found out once a process: compiled, run and compared with the plain path.

Shapes: b batch, l length, e inner width, n states, k taps, r rank of the step size.
"""

import importlib.util
import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from core.log import logger, warn_once
from core.model.trial import trial
from plugins.backbones.parts.causal_conv import causal_conv
from plugins.backbones.parts.selective_scan import selective_scan

SWITCH = "SWAPTUNES_MAMBA"  # triton, mamba_ssm or plain: what a Mamba runs on CUDA; unset: the first of them that works
_MOST_STATES = 64
_MOST_ROWS = 65_535  # of a grid
# What is tried (batch, length, channels, states), and how far it may be from the exact result: in float32, where
# nothing is a multiple of a block and products may be of fewer bits, and in bfloat16, on the matrix units.
_TRIES = {torch.float32: (2, 150, 18, 5, 1e-2), torch.bfloat16: (2, 150, 128, 16, 0.15)}
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def usable(x: Tensor, states: int) -> bool:
    """Whether the kernels can take x (b l d): on CUDA, eager, in float32 or 16 bits, few enough states and rows."""
    if not x.is_cuda or x.dtype not in _TYPES or states > _MOST_STATES or len(x) > _MOST_ROWS or x.numel() == 0:
        return False
    return not torch.compiler.is_compiling() and os.environ.get(SWITCH, "triton") == "triton" and available()


@cache
def available() -> bool:
    """Whether the kernels work here; says once that they run, or why not."""
    reason = fault()
    if reason is None:
        logger.info("mamba: our Triton kernels run")
        return True
    warn_once(f"mamba: our Triton kernels do not run ({reason})")
    return False


def fault(device: str = "cuda") -> str | None:
    """Why the kernels cannot be used, in one line, or None; the first call compiles for some seconds."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    try:
        for dtype, (*shape, most) in _TRIES.items():
            deviation = _deviation(device, dtype, *shape)
            if not deviation < most:
                kind = str(dtype).removeprefix("torch.")
                return f"in {kind} they deviate from the plain path by {deviation:.1e}"
    except Exception as error:  # whatever a compiler or a driver can come up with
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
    return None


def _deviation(device: str, dtype: torch.dtype, batch: int, length: int, e: int, n: int) -> float:
    """The largest difference, output and gradients, between `inner` and the plain path in double precision."""
    from plugins.backbones.cuda.inner import inner, since_start

    r, k = 2, 4
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).mul_(0.5)

    with trial(device):
        values = [draw(batch, length, 2 * e), draw(e, k), draw(e), draw(r + 2 * n, e), draw(e, r), draw(e)]
        values += [-draw(e, n).exp(), draw(e)]
        starts = torch.rand(batch, length, generator=generator) < 0.1
        weights = draw(batch, length, e)
        exact = [value.clone().requires_grad_() for value in values]
        single = [value.to(device, dtype if value is values[0] else torch.float32).requires_grad_() for value in values]
        arguments: Any = [*single, None, None, since_start(starts.to(device))]
        wanted, found = _plain(exact, starts), inner(*arguments)[0]
        pairs: list[tuple[Any, Any]] = [(wanted, found)]
        pairs += zip(
            torch.autograd.grad((wanted * weights).sum(), exact),
            torch.autograd.grad((found.float() * weights.to(device, torch.float32)).sum(), single),
            strict=True,
        )
    return max(float((b.detach().cpu() - a.detach()).abs().max() / a.detach().abs().max()) for a, b in pairs)


def _plain(values: list[Tensor], starts: Tensor) -> Tensor:
    """`inner` by the plain functions."""
    xz, conv, conv_bias, xw, dtw, dt_bias, A, D = values
    n, r = A.shape[1], dtw.shape[1]
    u, z = xz.transpose(0, 1).chunk(2, -1)
    u, _ = causal_conv(u, conv, conv_bias, None, starts.t())
    dt, B, C = (u @ xw.t()).split([r, n, n], -1)
    return selective_scan(u, dt @ dtw.t(), A, B, C, D, z, dt_bias, None, starts.t())[0].transpose(0, 1)
