"""Hyper-parameters of Mamba-1."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class MambaHParams:
    """Mamba-1 (Gu & Dao, arXiv 2312.00752), a selective state space model (SSM, S6)."""

    name: Literal["mamba"] = "mamba"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 7
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # State dimensions per channel.
    state: int = 16
    # Taps of the causal convolution.
    conv: int = 4
    # Inner width as a multiple of `dim`.
    expand: int = 2
    # Rank of the step-size projection; 0: dim / 16, rounded up.
    dt_rank: int = 0

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.state >= 1, "backbone.state", self.state, "at least 1")
        require(self.conv >= 1, "backbone.conv", self.conv, "at least 1")
        require(self.expand >= 1, "backbone.expand", self.expand, "at least 1")
        require(self.dt_rank >= 0, "backbone.dt_rank", self.dt_rank, "0 (dim / 16) or more")
