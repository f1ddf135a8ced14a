"""Root-mean-square norm that reads a residual stream of any precision and writes in that of its weight.

Shapes: ... any, d model width. Source: Zhang & Sennrich, arXiv 1910.07467.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes x (... d) in its own precision; the result has the weight's dtype."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps).to(self.weight.dtype)
