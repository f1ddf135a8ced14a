"""Root-mean-square norms with a SiLU gate, the gate before the norm (Mamba-2) or after it (gated DeltaNet).

On the fused operators, where they work and the norm covers all entries at once, the result has z's precision.

Shapes: ... any, e width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from plugins.backbones.native import kernels
from plugins.backbones.native.norm import add_norm
from plugins.backbones.native.transformer.blocks import gated


def rms(x: Tensor, width: int, eps: float) -> Tensor:
    """x (... e) over its root mean square in each group of `width` entries."""
    return F.rms_norm(x.unflatten(-1, (-1, width)), (width,), None, eps).flatten(-2)


def gate_then_norm(y: Tensor, z: Tensor, weight: Tensor, width: int, eps: float = 1e-5) -> Tensor:
    """rms(y silu(z)) weight for y, z (... e), each group of `width` entries by itself."""
    if width == y.shape[-1] and kernels.usable(z):
        return add_norm(_wide(gated(z, y.to(z.dtype))), None, weight, eps, z.dtype)[1]
    y, z = _wide(y), _wide(z)
    return rms(y * F.silu(z), width, eps) * weight.to(y.dtype)


def norm_then_gate(y: Tensor, z: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """rms(y) weight silu(z) for y, z (... e) and weight (e)."""
    if kernels.usable(z):
        return gated(z, add_norm(_wide(y), None, weight, eps, z.dtype)[1])
    y, z = _wide(y), _wide(z)
    return F.rms_norm(y, weight.shape, weight.to(y.dtype), eps) * F.silu(z)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
