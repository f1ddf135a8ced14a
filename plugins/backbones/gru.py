"""A stack of GRU layers with dropout after each, the last included.

Source: Cho et al., arXiv 1406.1078, with the reset gate applied after the recurrent product, as torch has it.
"""

from torch import nn

from hparams.backbones.gru import GruHParams
from plugins.backbones.parts.recurrent import Recurrent, begin


class Gru(Recurrent):
    """The backbone."""

    def __init__(self, hparams: GruHParams) -> None:
        layers = [nn.GRU(hparams.dim, hparams.dim, batch_first=True) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, layers, hparams.dropout, "h")
        begin(self, 3)


def build(hparams: GruHParams) -> Gru:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Gru(hparams)
