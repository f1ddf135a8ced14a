"""Hyper-parameters of `gru`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes


@dataclass(kw_only=True)
class GruHParams:
    """Stacked GRU (Cho et al., arXiv 1406.1078)."""

    name: Literal["gru"] = "gru"
    # Width of the model and of every layer.
    dim: int = 412
    # Number of layers.
    layers: int = 3
    # Share of activations dropped after every layer in training.
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_sizes(self)
