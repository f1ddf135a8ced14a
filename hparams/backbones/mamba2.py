"""Hyper-parameters of `mamba2`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class Mamba2HParams:
    """Mamba-2 (Dao & Gu, arXiv 2405.21060), by state space duality (SSD)."""

    name: Literal["mamba2"] = "mamba2"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 7
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # State dimensions per channel.
    state: int = 64
    # Channels of a head, which share one decay; 0: a quarter of `dim`, at most 64.
    head: int = 0
    # Groups of heads that share the ways into and out of the state.
    groups: int = 1
    # Taps of the causal convolution.
    conv: int = 4
    # Inner width as a multiple of `dim`.
    expand: int = 2

    def __post_init__(self) -> None:
        check_sizes(self)
        for key, least in (("state", 1), ("head", 0), ("groups", 1), ("conv", 1), ("expand", 1)):
            require(getattr(self, key) >= least, f"backbone.{key}", getattr(self, key), f"at least {least}")
        inner, head = self.expand * self.dim, self.head_width
        require(inner % head == 0, "backbone.head", self.head, f"a divisor of expand * dim ({inner}), or 0")
        heads = inner // head
        require(heads % self.groups == 0, "backbone.groups", self.groups, f"a divisor of the number of heads ({heads})")

    @property
    def head_width(self) -> int:
        """`head`, or what its 0 stands for."""
        return self.head or max(1, min(64, self.dim // 4))
