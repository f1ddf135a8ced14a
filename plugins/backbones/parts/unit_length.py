"""Vectors of one length.

Shapes: ... any, c width.
"""

import torch
from torch import Tensor

from plugins.backbones.native import kernels
from plugins.backbones.native.norm import add_norm

_EPS = 1e-6


def unit_length(x: Tensor, length: float = 1.0) -> Tensor:
    """x (... c) over the root of its squares' sum (and 1e-6), times `length`, in float32 at least."""
    width = x.shape[-1]
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if kernels.usable(x):  # a root-mean-square norm is one up to a factor
        return add_norm(x, None, x.new_full((width,), length * width**-0.5), _EPS / width, x.dtype)[1]
    return x * (length * torch.rsqrt(x.square().sum(-1, keepdim=True) + _EPS))
