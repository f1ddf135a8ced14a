"""Hyper-parameters of the Transformer."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class TransformerHParams:
    """Pre-norm decoder with RoPE and SwiGLU, as in Llama (arXiv 2302.13971)."""

    name: Literal["transformer"] = "transformer"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # Attention heads.
    heads: int = 4
    # Heads of keys and values; 0: as many as `heads`.
    kv_heads: int = 0
    # Inner width of the feed-forward part; 0: 8/3 of `dim`, rounded up to a multiple of 16.
    hidden: int = 656
    # Base of the rotary angles.
    rope_base: float = 10000.0
    # Added to the mean square under the root of every norm.
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (8/3 of dim) or more")
        require(self.rope_base > 1, "backbone.rope_base", self.rope_base, "more than 1")
        require(self.norm_eps > 0, "backbone.norm_eps", self.norm_eps, "more than 0")
        require(
            self.dim % (2 * self.heads) == 0,
            "backbone.dim",
            self.dim,
            f"a multiple of twice backbone.heads ({self.heads})",
        )
        kv_heads = self.kv_heads or self.heads
        require(
            0 < kv_heads <= self.heads and self.heads % kv_heads == 0,
            "backbone.kv_heads",
            self.kv_heads,
            f"0 (as many as heads) or a divisor of backbone.heads ({self.heads})",
        )
