"""Whether the fused operators can be used, found out once a process: compiled, loaded and compared with the formula."""

import os
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from core.log import warn_once
from core.model.trial import trial
from plugins.backbones.native import build
from plugins.backbones.native.mamba.functions import inner

SWITCH = "SWAPTUNES_NATIVE"  # 0: never


@cache
def fault() -> str | None:
    """Why the operators cannot be used, in one line, or None; the first call may compile for half a minute."""
    try:
        build.load()
        deviation = _deviation()
    except Exception as error:  # whatever a compiler, a linker or a disk can come up with
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        telling = [line for line in lines if "error:" in line] or lines or [type(error).__name__]
        return telling[0][:200]
    return None if deviation < 1e-4 else f"they deviate from the formula by {deviation:.1e} on this CPU"


def available() -> bool:
    """Whether the operators work here; says once, loudly, why not."""
    if os.environ.get(SWITCH, "1") == "0":
        return False
    reason = fault()
    if reason is not None:
        warn_once(
            f"no fused CPU kernels ({reason}): most backbones run in plain PyTorch, up to several times slower. "
            f"Install a C++20 compiler (g++ 11 or later, or clang) and ninja; {SWITCH}=0 silences this."
        )
    return reason is None


def usable(x: Tensor) -> bool:
    """Whether the operators can take x: on the CPU, eager, in float32, bfloat16 or float64."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16, torch.float64) or x.numel() == 0:
        return False
    return not torch.compiler.is_compiling() and not torch.jit.is_tracing() and available()


def _deviation() -> float:
    """The largest difference, output and gradients, between `inner` and its formula in double precision."""
    batch, length, e, n, r, k = 2, 19, 18, 5, 2, 4  # nothing is a multiple of a vector or a chunk
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).mul_(0.5)

    values = [draw(batch, length, 2 * e), draw(e, k), draw(e), draw(r + 2 * n, e), draw(e, r), draw(e)]
    values += [-draw(e, n).exp(), draw(e)]
    with trial("cpu"):
        exact = [value.clone().requires_grad_() for value in values]
        single = [value.float().requires_grad_() for value in values]
        wanted, found = _formula(*exact), inner(*single)[0]
        weights = draw(batch, length, e)
        wanted_grads = torch.autograd.grad((wanted * weights).sum(), exact)
        found_grads = torch.autograd.grad((found * weights.float()).sum(), single)
    pairs = zip((wanted, *wanted_grads), (found, *found_grads), strict=True)
    return max(float((b.detach() - a.detach()).abs().max() / a.detach().abs().max()) for a, b in pairs)


def _formula(
    xz: Tensor, conv: Tensor, conv_bias: Tensor, xw: Tensor, dtw: Tensor, dt_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """`inner` step by step."""
    (e, n), r, k = A.shape, dtw.shape[1], conv.shape[1]
    x, z = xz.chunk(2, -1)
    u = F.silu(F.conv1d(F.pad(x.transpose(1, 2), (k - 1, 0)), conv[:, None], conv_bias, groups=e)).transpose(1, 2)
    dt, B, C = (u @ xw.t()).split([r, n, n], -1)
    dt = F.softplus(dt @ dtw.t() + dt_bias)
    state, outputs = x.new_zeros(len(x), e, n), []
    for t in range(x.shape[1]):
        state = torch.exp(dt[:, t, :, None] * A) * state + (dt[:, t] * u[:, t])[..., None] * B[:, t, None]
        outputs.append((state * C[:, t, None]).sum(-1) + D * u[:, t])
    return torch.stack(outputs, 1) * F.silu(z)
