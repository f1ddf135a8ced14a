"""Hyper-parameters of `attentive_gru`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class AttentiveGruHParams:
    """GRU behind causal attention over all inputs so far (coopertunes' attentive PerformanceRNN, mended)."""

    name: Literal["attentive_gru"] = "attentive_gru"
    # Width of the model and of every layer.
    dim: int = 376
    # Number of GRU layers.
    layers: int = 3
    # Share of activations dropped after the attention and after every layer in training.
    dropout: float = 0.1
    # Attention heads.
    heads: int = 4

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        require(self.dim % self.heads == 0, "backbone.dim", self.dim, f"a multiple of backbone.heads ({self.heads})")
