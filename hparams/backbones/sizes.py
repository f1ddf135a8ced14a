"""What every backbone has: a width, layers, a dropout."""

from typing import Protocol

from hparams.base import require


class Sizes(Protocol):
    """The hyper-parameters that the hub itself asks of a backbone."""

    dim: int
    layers: int
    dropout: float


def check_sizes(section: Sizes) -> None:
    """ValueError, by dotted name, for sizes that no backbone can have."""
    require(section.dim >= 1, "backbone.dim", section.dim, "at least 1")
    require(section.layers >= 1, "backbone.layers", section.layers, "at least 1")
    require(0 <= section.dropout < 1, "backbone.dropout", section.dropout, "a share from 0 to below 1")
