"""Multi-head attention with biases and without positions, over packed pieces and with a cache.

Shapes: b batch, l length, d model width, h heads, c head width, m slots of the cache.
Source: Vaswani et al., arXiv 1706.03762, section 3.2.
"""

from torch import Tensor, nn

from core.contracts.backbone import State
from plugins.backbones.parts.attending.attention import attend
from plugins.backbones.stack import Pieces


class Attention(nn.Module):
    """Multi-head attention with biases, laid out as in `nn.MultiheadAttention`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, dim // heads
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        for linear in (self.in_proj, self.out_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `keys` and `values` (b m h c)."""
        q, k, v = (part.unflatten(-1, (self.heads, self.width)) for part in self.in_proj(x).chunk(3, -1))
        y, state = attend(q, k, v, state, pieces)
        return self.out_proj(y.flatten(2)), state
