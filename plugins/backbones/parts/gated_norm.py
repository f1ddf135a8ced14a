"""Root-mean-square norms with a SiLU gate, the gate before the norm (Mamba-2) or after it (gated DeltaNet).

Shapes: ... any, e width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def rms(x: Tensor, width: int, eps: float) -> Tensor:
    """x (... e) over its root mean square in each group of `width` entries."""
    return F.rms_norm(x.unflatten(-1, (-1, width)), (width,), None, eps).flatten(-2)


def gate_then_norm(y: Tensor, z: Tensor, weight: Tensor, width: int, eps: float = 1e-5) -> Tensor:
    """rms(y silu(z)) weight for y, z (... e), in float32 at least."""
    y, z = _wide(y), _wide(z)
    return rms(y * F.silu(z), width, eps) * weight.to(y.dtype)


def norm_then_gate(y: Tensor, z: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """rms(y) weight silu(z) for y, z (... e) and weight (e), in float32 at least."""
    y, z = _wide(y), _wide(z)
    return F.rms_norm(y, weight.shape, weight.to(y.dtype), eps) * F.silu(z)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
