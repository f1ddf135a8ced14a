"""Hyper-parameters of the tokenizers of performances."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(kw_only=True)
class Performance240HParams:
    """Events of performances in seconds, 240 tokens: shifts of time from 15 ms to 1.17 s."""

    name: Literal["performance_240"] = "performance_240"


@dataclass(kw_only=True)
class Performance388HParams:
    """Events of performances in seconds, 388 tokens (Oore et al., arXiv 1808.03715): shifts of 10 ms to 1 s."""

    # Notes last as long as the pedal holds them.
    kept: ClassVar[tuple[str, ...]] = ("pedals",)

    name: Literal["performance_388"] = "performance_388"
