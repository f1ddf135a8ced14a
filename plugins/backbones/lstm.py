"""A stack of LSTM layers with dropout after each, the last included, as Folk-RNN stacks them.

Source: Hochreiter & Schmidhuber, 1997; Sturm et al., arXiv 1604.08723.
"""

import torch
from torch import nn

from hparams.backbones.lstm import LstmHParams
from plugins.backbones.parts.recurrent import Recurrent, begin


class Lstm(Recurrent):
    """The backbone."""

    def __init__(self, hparams: LstmHParams) -> None:
        layers = [nn.LSTM(hparams.dim, hparams.dim, batch_first=True) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, layers, hparams.dropout, "hc")
        self.reset(hparams.forget_bias)

    @torch.no_grad()
    def reset(self, forget_bias: float) -> None:
        """See `begin`; forget gates begin open (Gers et al. 2000), so that gradients last from the start."""
        begin(self, 4)
        for name, parameter in self.named_parameters():
            if "bias_ih" in name:
                parameter[self.dim : 2 * self.dim] = forget_bias


def build(hparams: LstmHParams) -> Lstm:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Lstm(hparams)
