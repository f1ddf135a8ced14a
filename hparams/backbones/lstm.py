"""Hyper-parameters of the LSTM."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes


@dataclass(kw_only=True)
class LstmHParams:
    """Stacked LSTM (Hochreiter & Schmidhuber 1997), as Folk-RNN stacks it (arXiv 1604.08723)."""

    name: Literal["lstm"] = "lstm"
    # Width of the model and of every layer.
    dim: int = 356
    # Number of layers.
    layers: int = 3
    # Share of activations dropped after every layer in training.
    dropout: float = 0.1
    # Bias of the forget gates at the start: the larger it is, the longer memory lasts before anything is learned.
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        check_sizes(self)
