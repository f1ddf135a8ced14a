"""Causal attention inside each piece of a packed batch by FlashAttention over pieces of many lengths, on CUDA.

A mask would cost the whole square of a row's length, and FlashAttention takes none. An import that succeeds proves
nothing, so the kernel is run once on a small input, forward and backward, and must agree with a mask.

Shapes: b batch, l length, h heads, k heads of keys and values, c head width, s pieces, t tokens (b l laid end to end).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.log import warn_once
from core.model.trial import trial

_WIDEST = 256  # of a head, in FlashAttention


@dataclass(frozen=True)
class Pieces:
    """Where the pieces of a batch lie when its rows are laid end to end."""

    borders: Tensor  # (s+1,) int32
    longest: int  # at most


def pieces_of(starts: Tensor) -> Pieces:
    """The pieces of a batch with `starts` (b l) bool; what precedes a row's first start is a piece too."""
    begins = starts.clone()
    begins[:, 0] = True
    borders = F.pad(begins.flatten().nonzero().squeeze(1), (0, 1), value=begins.numel())
    return Pieces(borders.int(), starts.shape[1])  # no piece is longer than its row; the longest would have to be read


def attention(q: Tensor, k: Tensor, v: Tensor, pieces: Pieces, kernel: Callable[..., Any]) -> Tensor:
    """(b l h c) from q (b l h c) and k, v (b l k c) by `kernel`, which is torch's `varlen_attn`."""
    offers = inspect.signature(kernel).parameters  # they differ from one PyTorch to the next
    words: dict[str, Any] = {"is_causal": True} if "is_causal" in offers else {"window_size": (-1, 0)}
    if q.shape[2] != k.shape[2] and "enable_gqa" in offers:
        words["enable_gqa"] = True
    elif q.shape[2] != k.shape[2]:
        k, v = (each.repeat_interleave(q.shape[2] // k.shape[2], 2) for each in (k, v))
    flat = (each.flatten(0, 1) for each in (q, k, v.to(q.dtype)))  # (t h c)
    borders, longest = pieces.borders, pieces.longest
    y: Tensor = kernel(*flat, borders, borders, longest, longest, **words)
    return y.view_as(q)


def usable(x: Tensor, width: int) -> Callable[..., Any] | None:
    """The kernel for attention over x, if it lies on a CUDA device and attention will be in 16 bits; else None."""
    if not x.is_cuda or width % 8 or width > _WIDEST or torch.compiler.is_compiling():
        return None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    return load() if dtype in (torch.float16, torch.bfloat16) else None


@lru_cache(maxsize=1)
def load() -> Callable[..., Any] | None:
    """The kernel if it works on this machine, else None; says once why not."""
    try:
        from torch.nn.attention.varlen import varlen_attn

        if _agrees(varlen_attn):
            return varlen_attn
        reason = "it disagrees with a mask"
    except Exception as error:  # too old a PyTorch, too old a device, a broken build
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    warn_once(f"transformer: FlashAttention over packed pieces does not run ({reason}); a full mask does, more slowly")
    return None


def _agrees(kernel: Callable[..., Any], device: str = "cuda") -> bool:
    """Whether output and gradients equal those with a mask on a small input."""
    with trial(device):
        generator = torch.Generator().manual_seed(0)
        given = [torch.randn(2, 24, 2, 16, generator=generator) for _ in range(3)]
        given = [each.to(device, torch.bfloat16).requires_grad_() for each in given]
        starts = (torch.rand(2, 24, generator=generator) < 0.2).to(device)
        piece = starts.cumsum(1)
        mask = ((piece[:, :, None] == piece[:, None]) & torch.ones_like(piece[0, :, None] == piece[0]).tril())[:, None]
        q, k, v = (each.transpose(1, 2) for each in given)
        wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        found = attention(given[0], given[1], given[2], pieces_of(starts), kernel)
        pairs = [(found, wanted)]
        pairs += zip(*(torch.autograd.grad(each.square().sum(), given) for each in (found, wanted)), strict=True)
        pairs = [(a.detach().float(), b.detach().float()) for a, b in pairs]
        return all(torch.allclose(a, b, rtol=0.05, atol=0.05 * float(b.abs().max())) for a, b in pairs)
