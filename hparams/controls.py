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


@dataclass(kw_only=True)
class DensitySecondsHParams:
    """Notes a second, over the two seconds that begin at each token."""

    name: Literal["density_seconds"] = "density_seconds"


@dataclass(kw_only=True)
class PitchHistogramHParams:
    """Shares of the pitch classes, over the two seconds that begin at each token."""

    name: Literal["pitch_histogram"] = "pitch_histogram"
