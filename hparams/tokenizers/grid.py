"""Hyper-parameters of the tokenizer grid."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class GridHParams:
    """Soprano, alto, tenor and bass on a grid of sixteenths, 47 symbols (Huang et al., arXiv 1809.04281)."""

    name: Literal["grid"] = "grid"
