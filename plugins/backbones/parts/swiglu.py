"""The feed-forward part of Llama and its kin.

Shapes: b batch, l length, d model width. Source: Shazeer, arXiv 2002.05202.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from core.model.linear import Linear


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = Linear(dim, hidden)
        self.up_proj = Linear(dim, hidden)
        self.down_proj = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]
