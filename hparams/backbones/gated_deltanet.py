"""Hyper-parameters of `gated_deltanet`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class GatedDeltanetHParams:
    """Gated DeltaNet (Yang et al., arXiv 2412.06464) with SwiGLU."""

    name: Literal["gated_deltanet"] = "gated_deltanet"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # Width of a head's keys; 0: a quarter of `dim`, at most 64.
    head: int = 0
    # Heads; 0: as many as make the keys three quarters of `dim` wide.
    heads: int = 0
    # Width of a head's values as a multiple of its keys'.
    expand: int = 2
    # Taps of the causal convolutions.
    conv: int = 4
    # Whether a write may turn the old value round (eigenvalues from -1 on), which tracking a state needs.
    allow_neg_eigval: bool = False
    # Inner width of the feed-forward part; 0: 8/3 of `dim`, rounded up to a multiple of 16.
    hidden: int = 480

    def __post_init__(self) -> None:
        check_sizes(self)
        for key, least in (("head", 0), ("heads", 0), ("hidden", 0), ("expand", 1), ("conv", 1)):
            require(getattr(self, key) >= least, f"backbone.{key}", getattr(self, key), f"at least {least}")
        require(self.head > 0 or self.dim >= 4, "backbone.dim", self.dim, "at least 4, or a width in backbone.head")

    @property
    def head_width(self) -> int:
        """`head`, or what its 0 stands for."""
        return self.head or min(64, self.dim // 4)

    @property
    def head_count(self) -> int:
        """`heads`, or what its 0 stands for."""
        return self.heads or max(1, 3 * self.dim // 4 // self.head_width)
