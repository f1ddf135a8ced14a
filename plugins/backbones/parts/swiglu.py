"""The feed-forward part of Llama and its kin.

Shapes: b batch, l length, d model width. Source: Shazeer, arXiv 2002.05202.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from core.model.linear import Linear
from plugins.backbones.native import kernels
from plugins.backbones.native.transformer.blocks import gated


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = Linear(dim, hidden)
        self.up_proj = Linear(dim, hidden)
        self.down_proj = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        gate, up = self.gate_proj(x), self.up_proj(x)
        return self.down_proj(gated(gate, up) if kernels.usable(gate) else F.silu(gate) * up)  # type: ignore[no-any-return]
