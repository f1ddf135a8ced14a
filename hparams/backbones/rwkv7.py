"""Hyper-parameters of `rwkv7`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class Rwkv7HParams:
    """RWKV-7 "Goose" (Peng et al., arXiv 2503.14456)."""

    name: Literal["rwkv7"] = "rwkv7"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # Channels of a head; 0: a quarter of `dim`, at most 64.
    head: int = 0
    # Inner width of the channel mixing; 0: 4 times `dim`.
    hidden: int = 816

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.head >= 0, "backbone.head", self.head, "at least 0")
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (4 times dim) or more")
        require(self.dim % self.head_width == 0, "backbone.head", self.head, f"a divisor of dim ({self.dim}), or 0")
        require(self.head_width >= 2, "backbone.dim", self.dim, "at least 8, or a width in backbone.head")

    @property
    def head_width(self) -> int:
        """`head`, or what its 0 stands for."""
        return self.head or max(1, min(64, self.dim // 4))
