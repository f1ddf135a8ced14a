"""Hyper-parameters of the built-in backbones."""

from dataclasses import dataclass
from typing import Literal

from hparams.base import require


def _check(section: "MambaHParams | TransformerHParams | LstmHParams") -> None:
    require(section.dim >= 1, "backbone.dim", section.dim, "at least 1")
    require(section.layers >= 1, "backbone.layers", section.layers, "at least 1")
    require(0 <= section.dropout < 1, "backbone.dropout", section.dropout, "a share from 0 to below 1")


@dataclass(kw_only=True)
class MambaHParams:
    """Mamba-1 (Gu & Dao, arXiv 2312.00752)."""

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
        _check(self)
        require(self.state >= 1, "backbone.state", self.state, "at least 1")
        require(self.conv >= 1, "backbone.conv", self.conv, "at least 1")
        require(self.expand >= 1, "backbone.expand", self.expand, "at least 1")
        require(self.dt_rank >= 0, "backbone.dt_rank", self.dt_rank, "0 (dim / 16) or more")


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
        _check(self)
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


@dataclass(kw_only=True)
class LstmHParams:
    """Stacked LSTM (Hochreiter & Schmidhuber 1997), as Folk-RNN stacks it (arXiv 1604.08723)."""

    name: Literal["lstm"] = "lstm"
    # Width of the model and of every layer.
    dim: int = 356
    # Number of layers.
    layers: int = 3
    # Share of activations dropped after every layer in training.
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check(self)
