"""Rotary position embedding, the two halves of a head being the two parts of each rotated pair (as Llama pairs them).

Shapes: b batch, l length, h heads, c head width. Source: Su et al., arXiv 2104.09864.
"""

import torch
from torch import Tensor

Angles = tuple[Tensor, Tensor]  # cosine and sine, (b l 1 c/2) each


def angles(place: Tensor, width: int, base: float, dtype: torch.dtype) -> Angles:
    """The angles of tokens at `place` (b l), in `dtype` but in float32 at least."""
    dtype = torch.promote_types(dtype, torch.float32)
    frequency = base ** (-torch.arange(0, width, 2, device=place.device, dtype=dtype) / width)
    angle = place[..., None, None] * frequency  # (b l 1 c/2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, turn: Angles) -> Tensor:
    """Rotates x (b l h c); the result has x's dtype."""
    cos, sin = turn
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
