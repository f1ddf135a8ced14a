"""Blocks of several backbones in one stack, by a string of letters.

Only blocks with attention know positions. A block's state-dict names are those of its own backbone.

Source of the idea: Lieber et al., arXiv 2403.19887 (Jamba); Ren et al., arXiv 2406.07522 (Samba).
"""

from torch import nn

from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from hparams.backbones.hybrid import HybridHParams, spelled
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.mamba2 import Mamba2HParams
from hparams.backbones.mamba3 import Mamba3HParams
from hparams.backbones.mlstm import MlstmHParams
from hparams.backbones.rwkv7 import Rwkv7HParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import gated_deltanet, mamba, mamba2, mamba3, mlstm, rwkv7, transformer
from plugins.backbones.parts.attending.window import WindowAttention
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.stack import Stack


def block(letter: str, index: int, layers: int, hparams: HybridHParams) -> nn.Module:
    """The block of one letter; `index` counts the blocks with this letter before it, `layers` is that of all blocks."""
    sizes = {"dim": hparams.dim, "layers": layers, "dropout": hparams.dropout}
    wide = {**sizes, "hidden": hparams.hidden}
    with_heads = {**wide, "heads": hparams.heads}
    if letter == "m":
        return mamba.Block(MambaHParams(**sizes))  # type: ignore[arg-type]
    if letter == "2":
        return mamba2.block(Mamba2HParams(**sizes))  # type: ignore[arg-type]
    if letter == "3":
        return mamba3.block(Mamba3HParams(**sizes))  # type: ignore[arg-type]
    if letter == "g":
        return gated_deltanet.Block(GatedDeltanetHParams(**wide))  # type: ignore[arg-type]
    if letter == "r":
        return rwkv7.Block(Rwkv7HParams(**wide), index)  # type: ignore[arg-type]
    if letter == "x":
        return mlstm.Block(MlstmHParams(**with_heads))  # type: ignore[arg-type]
    made = transformer.Block(TransformerHParams(**with_heads))  # type: ignore[arg-type]
    if letter == "w":
        made.self_attn = WindowAttention(TransformerHParams(**with_heads), hparams.window)  # type: ignore[arg-type]
    transformer.begin(made, layers)
    return made


class Hybrid(Stack):
    """The backbone: the blocks of the pattern and a last norm."""

    def __init__(self, hparams: HybridHParams) -> None:
        letters = spelled(hparams.pattern) * hparams.layers
        blocks = [
            block(letter, letters[:place].count(letter), len(letters), hparams) for place, letter in enumerate(letters)
        ]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim))


def build(hparams: HybridHParams) -> Hybrid:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Hybrid(hparams)
