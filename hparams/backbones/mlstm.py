"""Hyper-parameters of `mlstm`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require


@dataclass(kw_only=True)
class MlstmHParams:
    """xLSTM of mLSTM blocks alone (Beck et al., arXiv 2405.04517 and 2503.13427)."""

    name: Literal["mlstm"] = "mlstm"
    # Width of the model.
    dim: int = 256
    # Number of blocks.
    layers: int = 4
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # Heads, each with a matrix for its memory.
    heads: int = 4
    # Inner width of the feed-forward part; 0: 8/3 of `dim`, rounded up to a multiple of 64.
    hidden: int = 656
    # Bound of the gates' arguments, which a hyperbolic tangent keeps.
    gate_soft_cap: float = 15.0

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        twice = f"a multiple of twice backbone.heads ({self.heads})"
        require(self.dim % (2 * self.heads) == 0, "backbone.dim", self.dim, twice)
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (8/3 of dim) or more")
        require(self.gate_soft_cap > 0, "backbone.gate_soft_cap", self.gate_soft_cap, "more than 0")
