"""Root-mean-square norm that reads a residual stream of any precision and writes in that of its weight.

On the fused operator, where that works, it writes in the precision that products are made in.

Shapes: ... any, d model width. Source: Zhang & Sennrich, arXiv 1910.07467.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plugins.backbones.native import kernels
from plugins.backbones.native.norm import add_norm


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes x (... d) in its own precision; the result has the weight's dtype, or that of autocast."""
        narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        if x.dtype == torch.promote_types(narrow, torch.float32) and kernels.usable(x):
            return add_norm(x, None, self.weight, self.eps, narrow)[1]
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps).to(self.weight.dtype)
