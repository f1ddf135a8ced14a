"""Hyper-parameters of `music_transformer`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class MusicTransformerHParams:
    """Music Transformer (Huang et al., arXiv 1809.04281): post-norm decoder with relative attention."""

    name: Literal["music_transformer"] = "music_transformer"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on the embeddings and on each residual branch in training.
    dropout: float = 0.1
    # Attention heads.
    heads: int = 4
    # Inner width of the feed-forward part; 0: 4 times `dim`.
    hidden: int = 864
    # Distances with an embedding of their own; farther tokens share the last one.
    distances: int = 1024
    # Whether the heads of a layer share one table of distances, or each has its own.
    table: Literal["shared", "per_head"] = "shared"

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        require(self.dim % self.heads == 0, "backbone.dim", self.dim, f"a multiple of backbone.heads ({self.heads})")
        require(self.dim % 2 == 0, "backbone.dim", self.dim, "an even width, for sines and cosines")
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (4 times dim) or more")
        require(self.distances >= 1, "backbone.distances", self.distances, "at least 1")
