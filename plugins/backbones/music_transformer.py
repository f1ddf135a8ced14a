"""Music Transformer: post-norm decoder with relative attention, sinusoidal positions, ReLU.

Shapes: b batch, l length, d model width, h heads, c head width, f keys.
Source: Huang et al., arXiv 1809.04281; Shaw et al., arXiv 1803.02155.
"""

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from hparams.backbones.music_transformer import MusicTransformerHParams
from plugins.backbones.native import kernels
from plugins.backbones.parts.attending.attention import Plan, cached, fused, plan_of
from plugins.backbones.parts.attending.relative import relative_attention, relative_lookup
from plugins.backbones.parts.layernorm import LayerNorm
from plugins.backbones.stack import Pieces, Stack


class RelativeAttention(nn.Module):
    """Multi-head attention that knows how far back each key lies."""

    def __init__(self, hparams: MusicTransformerHParams) -> None:
        super().__init__()
        self.heads = hparams.heads
        self.width = hparams.dim // hparams.heads
        self.qkv_proj = nn.Linear(hparams.dim, 3 * hparams.dim)
        self.o_proj = nn.Linear(hparams.dim, hparams.dim)
        tables = hparams.heads if hparams.table == "per_head" else 1
        self.Er = nn.Parameter(0.02 * torch.randn(tables, hparams.distances, self.width))

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `keys` and `values` (b m h c)."""
        q, k, v = (each.unflatten(-1, (self.heads, self.width)) for each in self.qkv_proj(x).chunk(3, -1))
        if state is None and self.width % 2 == 0 and kernels.usable(q):
            return self.o_proj(fused(q, k, v, pieces, self.Er).flatten(2)), None
        if state is None:
            first = None
            if pieces.starts is not None:
                first = torch.arange(x.shape[1], device=x.device) - pieces.place
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
            y = relative_attention(q, k, v, self.Er, first)
        else:
            given = state
            plan = pieces.once(("attention", self.width), lambda: plan_of(q, given, pieces))
            distance = pieces.once("distance", lambda: distances(plan, pieces))
            k, keys = cached(k, state["keys"], plan)
            v, values = cached(v, state["values"], plan)
            state = {"keys": keys, "values": values}
            assert plan.mask is not None
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
            y = relative_lookup(q, k, v, self.Er, distance, plan.mask)
        return self.o_proj(y.transpose(1, 2).flatten(2)), state


def distances(plan: Plan, pieces: Pieces) -> Tensor:
    """How far each key lies behind each query of its piece, (b l f); anything for a key that is not seen."""
    found = pieces.place[..., None] - torch.arange(plan.filled, device=pieces.device)
    if not plan.joined:
        return found
    steps = torch.arange(pieces.shape[1], device=pieces.device)
    return torch.cat([found, (steps[:, None] - steps).expand(len(found), -1, -1)], -1)


class Block(nn.Module):
    """Attention, then the feed-forward part, each as norm(x + dropout(part(x)))."""

    def __init__(self, hparams: MusicTransformerHParams) -> None:
        super().__init__()
        hidden = hparams.hidden or 4 * hparams.dim
        self.self_attn = RelativeAttention(hparams)
        self.norm1 = LayerNorm(hparams.dim)
        self.linear1 = nn.Linear(hparams.dim, hidden)
        self.linear2 = nn.Linear(hidden, hparams.dim)
        self.norm2 = LayerNorm(hparams.dim)
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d) in x's precision."""
        narrow = self.norm1.weight.dtype
        y, state = self.self_attn(x.to(narrow), state, pieces)
        x = self.norm1(x + self.dropout(y)).to(x.dtype)
        y = self.linear2(self.linear1(x.to(narrow)).relu())
        return self.norm2(x + self.dropout(y)).to(x.dtype), state

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        shape = (batch, max_length, self.self_attn.heads, self.self_attn.width)
        return {key: self.norm1.weight.new_zeros(shape) for key in ("keys", "values")}


class MusicTransformer(Stack):
    """The backbone: sinusoidal positions, a stack of blocks and a last norm."""

    def __init__(self, hparams: MusicTransformerHParams) -> None:
        blocks = [Block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, LayerNorm(hparams.dim))
        self.dropout = nn.Dropout(hparams.dropout)
        self.embedding_std = hparams.dim**-0.5  # a head that shares it then begins with logits near 1
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                for part in parameter.chunk(3 if "qkv" in name else 1):
                    nn.init.xavier_uniform_(part)
            elif "linear" in name or "proj" in name:
                nn.init.zeros_(parameter)

    def enter(self, x: Tensor, pieces: Pieces) -> Tensor:
        """x (b l d) times the root of d, beside whose places' sines and cosines it would drown otherwise, plus these.

        Source: Vaswani et al., arXiv 1706.03762, section 3.4.
        """
        stream = super().enter(x, pieces) * self.dim**0.5
        return self.dropout(stream + sinusoids(pieces.place, self.dim, stream.dtype))


def sinusoids(place: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of place (b l), alternating, as (b l d) (Vaswani et al., arXiv 1706.03762, section 3.5)."""
    frequency = 10000.0 ** (-torch.arange(0, dim, 2, device=place.device, dtype=dtype) / dim)
    angle = place[..., None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def build(hparams: MusicTransformerHParams) -> MusicTransformer:
    """Makes the backbone with fresh weights from torch's current random state."""
    return MusicTransformer(hparams)
