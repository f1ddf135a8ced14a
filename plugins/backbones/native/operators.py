"""The compiled operators, and the layout that they read."""

from typing import Any

import torch
from torch import Tensor


def ops() -> Any:
    """Their namespace; build.load fills it."""
    return torch.ops.swaptunes_native


def dense(x: Tensor, like: Tensor) -> Tensor:
    """x as the operators read it: in the type of `like`, its last dimension dense."""
    x = x.to(like.dtype)
    return x if x.stride(-1) == 1 else x.contiguous()
