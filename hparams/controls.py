"""Hyper-parameters of the built-in controls."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class DensityHParams:
    """Notes a bar, bar by bar."""

    name: Literal["density"] = "density"


@dataclass(kw_only=True)
class KeyHParams:
    """The key of a piece, major or minor."""

    name: Literal["key"] = "key"
