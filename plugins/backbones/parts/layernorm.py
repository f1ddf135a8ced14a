"""Layer norm that reads a residual stream of any precision and writes in that of its weight.

Shapes: ... any, d model width. Source: Ba et al., arXiv 1607.06450.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm(nn.LayerNorm):
    """(x - mean) / deviation * weight + bias over the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes x (... d) in its own precision; the result has the weight's dtype."""
        y = F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)
        return y.to(self.weight.dtype)
