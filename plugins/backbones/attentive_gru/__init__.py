"""A GRU behind attention: norm(x + attention(x)) over all inputs so far, then the layers of `gru`.

The earlier code attended step by step, to one position, so that every weight was 1. Here a token attends to its whole
past, with as many parameters. Nothing tells the attention where a token stands: order is the GRU's business.

Shapes: b batch, l length, d model width, h heads, c head width, m slots of the cache.
"""

from torch import Tensor, nn

from core.contracts.backbone import State
from hparams.backbones.attentive_gru import AttentiveGruHParams
from plugins.backbones.attentive_gru.attention import Attention
from plugins.backbones.parts.layernorm import LayerNorm
from plugins.backbones.parts.recurrent import Recurrent, begin
from plugins.backbones.stack import Pieces


class AttentiveGru(Recurrent):
    """The backbone."""

    def __init__(self, hparams: AttentiveGruHParams) -> None:
        layers = [nn.GRU(hparams.dim, hparams.dim, batch_first=True) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, layers, hparams.dropout, "h")
        begin(self, 3)
        self.attention = Attention(hparams.dim, hparams.heads)
        self.attention_norm = LayerNorm(hparams.dim)

    def through(self, stream: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State]:
        """Attention and all layers over the stream (b l d), and what they keep: `keys`, `values` and `h.i` (b d)."""
        cache = None if state is None else {key: state[key] for key in ("keys", "values")}
        y, cache = self.attention(stream, cache, pieces)
        hidden, after = super().through(self.attention_norm(stream + self.dropout(y)), state, pieces)
        return hidden, after | (cache or {})

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first of at most `max_length` tokens, with empty caches of so many slots."""
        shape = (batch, max_length, self.attention.heads, self.attention.width)
        caches = {key: self.attention_norm.weight.new_zeros(shape) for key in ("keys", "values")}
        return super().init_state(batch, max_length) | caches


def build(hparams: AttentiveGruHParams) -> AttentiveGru:
    """Makes the backbone with fresh weights from torch's current random state."""
    return AttentiveGru(hparams)
