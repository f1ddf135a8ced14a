"""Attention that sees a window of the past, with a cache that rolls.

Shapes: b batch, l length, h heads, k heads of keys and values, c head width, w window, n blocks, s queries of a block.
Source: Beltagy et al., arXiv 2004.05150, section 3.1, causal.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.contracts.backbone import State
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.parts.attending.attention import Attention
from plugins.backbones.stack import Pieces


class WindowAttention(Attention):
    """As `Attention`, over the last `window` tokens of a piece, the token itself included."""

    def __init__(self, hparams: TransformerHParams, window: int) -> None:
        super().__init__(hparams)
        self.window = window

    def over(self, q: Tensor, k: Tensor, v: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """q (b l h c) over k, v (b l k c); the state holds the last w-1 `keys` and `values` (b w-1 k c)."""
        past = self.window - 1
        if state is None:
            k, v = (F.pad(each, (0, 0, 0, 0, past, 0)) for each in (k, v))
        else:
            k, v = (torch.cat([state[key].to(each.dtype), each], 1) for key, each in (("keys", k), ("values", v)))
        mask = pieces.once(("window", self.window), lambda: visible(self.window, pieces))
        y = in_blocks(q, k, v, mask)
        if state is None:
            return y, None
        return y, {key: each[:, q.shape[1] :].to(state[key].dtype) for key, each in (("keys", k), ("values", v))}

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of w-1 slots, whatever `max_length`."""
        return super().init_state(batch, self.window - 1)


def visible(window: int, pieces: Pieces) -> Tensor:
    """Which keys a query sees, block by block, (1 or b, n, s, s+w-1) bool; keys begin w-1 tokens before the queries."""
    length, device, past = pieces.shape[1], pieces.device, window - 1
    size = min(length, window)
    count = -(-length // size)
    query = torch.arange(size, device=device)[:, None]
    back = query + past - torch.arange(size + past, device=device)  # how far each key lies behind each query
    near = (back >= 0) & (back < window)
    # The number of each key's piece in this call: 0 the open one, -1 what is not there.
    before = torch.zeros(1, dtype=torch.int64, device=device) if pieces.before is None else pieces.before
    kept = torch.arange(past, 0, -1, device=device) <= before[:, None]
    piece = torch.zeros(1, length, dtype=torch.int64, device=device)
    if pieces.starts is not None:
        piece = pieces.starts.cumsum(1)
    rows = max(len(kept), len(piece))
    kept, piece = kept.expand(rows, -1), piece.expand(rows, -1)
    spare = count * size - length
    of_keys = F.pad(torch.cat([kept.long() - 1, piece], 1), (0, spare), value=-2).unfold(1, size + past, size)
    of_queries = F.pad(piece, (0, spare), value=-2).unflatten(1, (count, size))
    return near & (of_queries[..., None] == of_keys[:, :, None])


def in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q (b l h c) over k, v (b w-1+l k c) by `mask` of `visible` -> (b l h c)."""
    batch, length = q.shape[:2]
    count, size, keys = mask.shape[1:]
    spare = count * size - length
    q = F.pad(q, (0, 0, 0, 0, 0, spare)).unflatten(1, (count, size)).flatten(0, 1).transpose(1, 2)  # (bn h s c)
    k, v = (F.pad(each, (0, 0, 0, 0, 0, spare)).unfold(1, keys, size).flatten(0, 1) for each in (k, v))  # (bn k c ..)
    k, v = (each.transpose(-1, -2).to(q.dtype) for each in (k, v))
    mask = mask.expand(batch, -1, -1, -1).flatten(0, 1)[:, None]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=k.shape[1] != q.shape[1])
    return y.transpose(1, 2).unflatten(0, (batch, count)).flatten(1, 2)[:, :length]
