"""GPT-2: pre-norm decoder with learned positions and biases. State-dict names and shapes are those of GPT2Model.

Shapes: b batch, l length, d model width, h heads, c head width, i inputs, o outputs.
Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.errors import HubError
from core.model.linear import linear
from hparams.backbones.gpt2 import Gpt2HParams
from plugins.backbones.parts.attending.attention import attend
from plugins.backbones.parts.layernorm import LayerNorm
from plugins.backbones.stack import Pieces, Stack


class Affine(nn.Module):
    """x W + b with W as GPT-2 keeps it, inputs first."""

    def __init__(self, inputs: int, outputs: int, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs).normal_(std=std))  # (i o)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x (... i) -> (... o)."""
        return linear(x, self.weight.t()) + self.bias


class Attention(nn.Module):
    """Multi-head attention; queries, keys and values lie side by side in one projection."""

    def __init__(self, hparams: Gpt2HParams) -> None:
        super().__init__()
        self.heads = hparams.heads
        self.width = hparams.dim // hparams.heads
        self.c_attn = Affine(hparams.dim, 3 * hparams.dim)
        self.c_proj = Affine(hparams.dim, hparams.dim, 0.02 / math.sqrt(2 * hparams.layers))

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `keys` and `values` (b m h c)."""
        q, k, v = (part.unflatten(-1, (self.heads, self.width)) for part in self.c_attn(x).chunk(3, -1))
        y, state = attend(q, k, v, state, pieces)
        return self.c_proj(y.flatten(2)), state


class FeedForward(nn.Module):
    """Two maps with a GELU between, in its form by tanh."""

    def __init__(self, hparams: Gpt2HParams) -> None:
        super().__init__()
        hidden = hparams.hidden or 4 * hparams.dim
        self.c_fc = Affine(hparams.dim, hidden)
        self.c_proj = Affine(hidden, hparams.dim, 0.02 / math.sqrt(2 * hparams.layers))

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then the feed-forward part, each as x + dropout(part(norm(x)))."""

    def __init__(self, hparams: Gpt2HParams) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(hparams.dim, hparams.norm_eps)
        self.attn = Attention(hparams)
        self.ln_2 = LayerNorm(hparams.dim, hparams.norm_eps)
        self.mlp = FeedForward(hparams)
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        y, state = self.attn(self.ln_1(x), state, pieces)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.ln_2(x))), state

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        shape = (batch, max_length, self.attn.heads, self.attn.width)
        return {key: self.ln_1.weight.new_zeros(shape) for key in ("keys", "values")}


class Gpt2(Stack):
    """The backbone: learned positions, a stack of blocks and a last norm."""

    def __init__(self, hparams: Gpt2HParams) -> None:
        blocks = [Block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, LayerNorm(hparams.dim, hparams.norm_eps), ("h", "ln_f"))
        self.wpe = nn.Embedding(hparams.positions, hparams.dim)
        nn.init.normal_(self.wpe.weight, std=0.01)
        self.dropout = nn.Dropout(hparams.dropout)

    @property
    def positions(self) -> int:
        """The most tokens that a piece may have."""
        return self.wpe.num_embeddings

    def enter(self, x: Tensor, pieces: Pieces) -> Tensor:
        """x (b l d) with each token's position added; HubError for a piece with more tokens than positions."""
        self.insist(pieces.most)
        return self.dropout(super().enter(x, pieces) + self.wpe(pieces.place))

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first of at most `max_length` tokens; HubError for more than there are positions."""
        self.insist(max_length)
        return super().init_state(batch, max_length)

    def insist(self, tokens: int) -> None:
        """HubError for a piece of more tokens than positions."""
        if tokens > self.positions:
            raise HubError(
                f"a piece reaches {tokens} tokens, but backbone.positions is {self.positions}; "
                "train with as many positions, or leave longer pieces out"
            )


def build(hparams: Gpt2HParams) -> Gpt2:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Gpt2(hparams)
