"""Which laws a backbone breaks: for tests of one backbone, and of faults that are planted in it."""

from collections.abc import Callable
from typing import Any

import torch

from plugins.laws.backbones.judging import backbone_laws

# The laws that chunks, steps and starts can break; `check NAME` judges all.
KEY = (
    "chunks equal whole",
    "a start inside a continued state",
    "packed gradients equal separate",
    "every parameter gets a gradient",
)


def broken(
    build: Callable[[Any], Any], hparams: Any, *names: str, dtype: torch.dtype = torch.float64
) -> dict[str, str]:
    """The broken laws (among `names`, if any are given) with what they say."""
    laws = [law for law in backbone_laws(build, hparams, dtype=dtype) if not names or law.name in names]
    assert not names or len(laws) == len(names), names
    return {law.name: str(verdict.detail) for law in laws if (verdict := law.judge()).passed is False}
