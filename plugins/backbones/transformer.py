"""Decoder-only transformer: pre-norm, rotary positions, SwiGLU, no biases. State-dict names are those of LlamaModel.

Shapes: b batch, l length, d model width, m slots of the cache, k heads of keys and values, c head width.
Source: Touvron et al., arXiv 2302.13971.
"""

import math

from torch import Tensor, nn

from core.contracts.backbone import State
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.native import kernels
from plugins.backbones.native.transformer import blocks as transformer_blocks
from plugins.backbones.native.transformer import step as transformer_step
from plugins.backbones.parts.attending.attention import Attention
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.parts.swiglu import FeedForward
from plugins.backbones.stack import Pieces, Stack


class Block(nn.Module):
    """Attention, then the feed-forward part, each as x + dropout(part(norm(x)))."""

    def __init__(self, hparams: TransformerHParams) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(hparams.dim, hparams.norm_eps)
        self.self_attn: Attention = Attention(hparams)
        self.post_attention_layernorm = RMSNorm(hparams.dim, hparams.norm_eps)
        self.mlp = FeedForward(hparams.dim, hparams.hidden or 16 * math.ceil(8 * hparams.dim / 3 / 16))
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        y, state = self.self_attn(self.input_layernorm(x), state, pieces)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x))), state

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        return self.self_attn.init_state(batch, max_length)


class Transformer(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: TransformerHParams) -> None:
        blocks = [Block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim, hparams.norm_eps))
        self.base = hparams.rope_base
        begin(self, hparams.layers)

    def fast_step(self, x: Tensor, state: State) -> tuple[Tensor, State] | None:
        """One token in one call of the fused operators, if they can take it."""
        return transformer_step.step(self, x, state)

    def through(self, stream: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State]:
        """See `Stack`; on the fused operators, if they can take the stream."""
        if state is None and kernels.usable(stream):
            return transformer_blocks.forward(self, stream, pieces.starts), {}
        return super().through(stream, state, pieces)


def begin(model: nn.Module, layers: int) -> None:
    """Fresh matrices, both ends of a block's branches smaller, so that the stream's variance stays."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            ends = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if ends else 0.02)


def build(hparams: TransformerHParams) -> Transformer:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Transformer(hparams)
