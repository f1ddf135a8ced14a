"""Causal self-attention over packed pieces, with a static cache of keys and values.

A row of the cache holds the keys of that row's open piece from slot 0 on, wherever in the batch the piece began: after
a ragged prefill a row's cache is what it would be had the row been alone.

Shapes: b batch, l length, d model width, h heads, k heads of keys and values, c head width, m slots of the cache, f of
them filled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.native import kernels
from plugins.backbones.native.operators import dense
from plugins.backbones.native.transformer.blocks import attention as fused_attention
from plugins.backbones.parts.attending import packed_attention
from plugins.backbones.places.positions import recorded
from plugins.backbones.places.rotary import angles, rotate
from plugins.backbones.stack import Pieces


@dataclass(frozen=True)
class Plan:
    """What all layers of one call share."""

    mask: Tensor | None  # (b 1 l keys) bool, True where a query sees a key; None: causal
    filled: int = 0  # slots of the cache that matter
    joined: bool = False  # keys are the filled slots followed by this call's, else the filled slots alone
    kept: Tensor | None = None  # indices (n,) of the tokens to write, of (b l) laid flat; None: all
    slots: Tensor | None = None  # where they go, of (b m) laid flat
    pieces: packed_attention.Pieces | None = None  # instead of a mask, for `kernel`
    kernel: Callable[..., Any] | None = None


def plan_of(q: Tensor, state: State | None, pieces: Pieces) -> Plan:
    """The plan of one call with queries q (b l h c)."""
    if state is not None:
        return _plan_cached(pieces, state["keys"].shape[1])
    if pieces.starts is None:
        return Plan(None)
    kernel = packed_attention.usable(q, q.shape[-1])
    if kernel is not None:
        return Plan(None, pieces=packed_attention.pieces_of(pieces.starts), kernel=kernel)
    return Plan(same_piece(pieces.starts.cumsum(1)))


def _plan_cached(pieces: Pieces, limit: int) -> Plan:
    """With a state whose rows have `pieces.before` (b,) tokens in caches of `limit` slots."""
    batch, length = pieces.shape
    place, before, starts = pieces.place, pieces.before, pieces.starts
    assert before is not None
    whole = recorded(place)  # what is recorded cannot depend on how full the cache is
    rows = limit * torch.arange(batch, device=place.device)[:, None]
    if starts is None:
        filled = limit if whole else int(before.max()) + length
        mask = torch.arange(filled, device=place.device) <= place[..., None]
        return Plan(mask[:, None], filled, slots=(rows + place).flatten())
    filled = limit if whole else int(before.max())
    piece = starts.cumsum(1)
    old = (piece == 0)[..., None] & (torch.arange(filled, device=place.device) < before[:, None, None])
    mask = torch.cat([old[:, None], same_piece(piece)], -1)
    kept = (piece == piece[:, -1:]).flatten().nonzero().squeeze(1)
    return Plan(mask, filled, True, kept, (rows + place).flatten()[kept])


def same_piece(piece: Tensor) -> Tensor:
    """From the number of each token's piece (b l), the block-diagonal causal mask (b 1 l l)."""
    length = piece.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=piece.device).tril()
    return ((piece[:, :, None] == piece[:, None]) & causal)[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
    """q (b l h c) over k, v (b l k c) of their pieces, the past included -> (b l h c); the state: `keys`, `values`."""
    if state is None and q.shape[-1] % 2 == 0 and kernels.usable(q):
        return fused(q, k, v, pieces), None
    plan = pieces.once(("attention", q.shape[-1]), lambda: plan_of(q, state, pieces))
    if state is not None:
        k, keys = cached(k, state["keys"], plan)
        v, values = cached(v, state["values"], plan)
        state = {"keys": keys, "values": values}
    if plan.pieces is not None and plan.kernel is not None:
        return packed_attention.attention(q, k, v, plan.pieces, plan.kernel), state
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2).to(q.dtype),
        v.transpose(1, 2).to(q.dtype),
        attn_mask=plan.mask,
        is_causal=plan.mask is None,
        enable_gqa=k.shape[2] != q.shape[2],
    )
    return y.transpose(1, 2), state


def fused(q: Tensor, k: Tensor, v: Tensor, pieces: Pieces, table: Tensor | None = None) -> Tensor:
    """Without a past, on the compiled operator, which would rotate as well: by an angle of 0.

    `table` (1 or h, t, c) has embedded distances, as in `relative.py`.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    cos = q.new_ones(1, q.shape[1], q.shape[-1] // 2, dtype=wide)
    first = None if pieces.starts is None else torch.arange(q.shape[1]) - pieces.place
    q, k, v = (dense(each, q) for each in (q, k, v))
    table = None if table is None else table.to(wide).contiguous()
    return fused_attention(q, k, v, cos, torch.zeros_like(cos), first, table)


class Attention(nn.Module):
    """Multi-head attention with rotary positions; several query heads may share a head of keys and values."""

    def __init__(self, hparams: TransformerHParams) -> None:
        super().__init__()
        self.heads = hparams.heads
        self.kv_heads = hparams.kv_heads or hparams.heads
        self.width = hparams.dim // hparams.heads
        self.base = hparams.rope_base
        self.q_proj = Linear(hparams.dim, hparams.dim)
        self.k_proj = Linear(hparams.dim, self.kv_heads * self.width)
        self.v_proj = Linear(hparams.dim, self.kv_heads * self.width)
        self.o_proj = Linear(hparams.dim, hparams.dim)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `keys` and `values` (b m k c)."""
        y, state = self.over(*self.heads_of(x, pieces), state, pieces)
        return self.o_proj(y.flatten(2)), state

    def heads_of(self, x: Tensor, pieces: Pieces) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b l h c), keys and values (b l k c) of x (b l d), rotated to their places."""
        key = ("angles", self.width, self.base)
        turn = pieces.once(key, lambda: angles(pieces.place, self.width, self.base, x.dtype))
        q, k, v = (each(x).unflatten(-1, (-1, self.width)) for each in (self.q_proj, self.k_proj, self.v_proj))
        return rotate(q, turn), rotate(k, turn), v

    def over(self, q: Tensor, k: Tensor, v: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """What the queries gather (b l h c), and the state after."""
        return attend(q, k, v, state, pieces)

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        shape = (batch, max_length, self.kv_heads, self.width)
        return {key: self.k_proj.weight.new_zeros(shape) for key in ("keys", "values")}


def cached(new: Tensor, cache: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Writes `new` (b l k c) into the cache (b m k c); returns what is attended to (b f k c) and the cache."""
    new = new.to(cache.dtype)
    seen = torch.cat([cache[:, : plan.filled], new], 1) if plan.joined else None
    written = new.flatten(0, 1) if plan.kept is None else new.flatten(0, 1)[plan.kept]
    if torch.is_grad_enabled():
        cache = cache.clone()  # an earlier call's graph may hold it
    assert plan.slots is not None
    cache.flatten(0, 1).index_copy_(0, plan.slots, written)
    return cache[:, : plan.filled] if seen is None else seen, cache
