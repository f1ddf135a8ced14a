"""Hyper-parameters of `gpt2`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class Gpt2HParams:
    """GPT-2 (Radford et al. 2019): pre-norm decoder with learned positions."""

    name: Literal["gpt2"] = "gpt2"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on the embeddings and on each residual branch in training.
    dropout: float = 0.1
    # Attention heads.
    heads: int = 4
    # Inner width of the feed-forward part; 0: 4 times `dim`.
    hidden: int = 720
    # Tokens that a piece may have, each of which has a learned position; those beyond `data.length` are never taught.
    positions: int = 2048
    # Added to the variance under the root of every norm.
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        require(self.dim % self.heads == 0, "backbone.dim", self.dim, f"a multiple of backbone.heads ({self.heads})")
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (4 times dim) or more")
        require(self.positions >= 1, "backbone.positions", self.positions, "at least 1")
        require(self.norm_eps > 0, "backbone.norm_eps", self.norm_eps, "more than 0")
