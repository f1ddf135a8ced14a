"""Hyper-parameters of `mamba3`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class Mamba3HParams:
    """Mamba-3 (arXiv 2603.15569), with one input and output per head or several."""

    name: Literal["mamba3"] = "mamba3"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 7
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # State dimensions per channel.
    state: int = 64
    # Channels of a head, which share one decay and one rotation; 0: a quarter of `dim`, at most 64.
    head: int = 0
    # Groups of heads that share the ways into and out of the state.
    groups: int = 1
    # Inner width as a multiple of `dim`.
    expand: int = 2
    # Inputs and outputs of a head's state in one step (MIMO); 1: SISO.
    rank: int = 1
    # Share of the state dimensions that rotate.
    rope_fraction: Literal["half", "whole"] = "half"
    # What keeps the decay rate positive: the first release has softplus, later ones 1 + x or 1 / (1 - x).
    a_activation: Literal["softplus", "heavy_tail"] = "softplus"

    def __post_init__(self) -> None:
        check_sizes(self)
        for key, least in (("state", 1), ("head", 0), ("groups", 1), ("expand", 1), ("rank", 1)):
            require(getattr(self, key) >= least, f"backbone.{key}", getattr(self, key), f"at least {least}")
        require(self.state % 4 == 0, "backbone.state", self.state, "a multiple of 4, half of it being rotated in pairs")
        inner, head = self.expand * self.dim, self.head_width
        require(inner % head == 0, "backbone.head", self.head, f"a divisor of expand * dim ({inner}), or 0")
        heads = inner // head
        require(heads % self.groups == 0, "backbone.groups", self.groups, f"a divisor of the number of heads ({heads})")

    @property
    def head_width(self) -> int:
        """`head`, or what its 0 stands for."""
        return self.head or max(1, min(64, self.dim // 4))

    @property
    def angles(self) -> int:
        """Pairs of state dimensions that rotate."""
        return self.state // (4 if self.rope_fraction == "half" else 2)
