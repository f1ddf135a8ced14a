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
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.parts.attending import packed_attention
from plugins.backbones.parts.attending.rotary import Angles, angles, rotate
from plugins.backbones.parts.positions import recorded
from plugins.backbones.stack import Pieces


@dataclass(frozen=True)
class Plan:
    """What all layers of one call share."""

    turn: Angles
    mask: Tensor | None  # (b 1 l keys) bool, True where a query sees a key; None: causal
    filled: int = 0  # slots of the cache that matter
    joined: bool = False  # keys are the filled slots followed by this call's, else the filled slots alone
    kept: Tensor | None = None  # indices (n,) of the tokens to write, of (b l) laid flat; None: all
    slots: Tensor | None = None  # where they go, of (b m) laid flat
    pieces: packed_attention.Pieces | None = None  # instead of a mask, for `kernel`
    kernel: Callable[..., Any] | None = None


def plan_of(x: Tensor, state: State | None, pieces: Pieces, width: int, base: float) -> Plan:
    """The plan of one call with queries x (b l d) in that precision."""
    turn = angles(pieces.place, width, base, x.dtype)
    if state is None:
        return _plan_training(x, turn, pieces, width)
    return _plan_cached(turn, pieces, state["keys"].shape[1])


def _plan_training(x: Tensor, turn: Angles, pieces: Pieces, width: int) -> Plan:
    """Without a state: each token sees its own piece up to itself."""
    if pieces.starts is None:
        return Plan(turn, None)
    kernel = packed_attention.usable(x, width)
    if kernel is not None:
        return Plan(turn, None, pieces=packed_attention.pieces_of(pieces.starts), kernel=kernel)
    return Plan(turn, same_piece(pieces.starts.cumsum(1)))


def _plan_cached(turn: Angles, pieces: Pieces, limit: int) -> Plan:
    """With a state whose rows have `pieces.before` (b,) tokens in caches of `limit` slots."""
    batch, length = pieces.shape
    place, before, starts = pieces.place, pieces.before, pieces.starts
    assert before is not None
    whole = recorded(place)  # what is recorded cannot depend on how full the cache is
    rows = limit * torch.arange(batch, device=place.device)[:, None]
    if starts is None:
        filled = limit if whole else int(before.max()) + length
        mask = torch.arange(filled, device=place.device) <= place[..., None]
        return Plan(turn, mask[:, None], filled, slots=(rows + place).flatten())
    filled = limit if whole else int(before.max())
    piece = starts.cumsum(1)
    old = (piece == 0)[..., None] & (torch.arange(filled, device=place.device) < before[:, None, None])
    mask = torch.cat([old[:, None], same_piece(piece)], -1)
    kept = (piece == piece[:, -1:]).flatten().nonzero().squeeze(1)
    return Plan(turn, mask, filled, True, kept, (rows + place).flatten()[kept])


def same_piece(piece: Tensor) -> Tensor:
    """From the number of each token's piece (b l), the block-diagonal causal mask (b 1 l l)."""
    length = piece.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=piece.device).tril()
    return ((piece[:, :, None] == piece[:, None]) & causal)[:, None]


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
        key = ("attention", self.width, self.base)
        plan = pieces.once(key, lambda: plan_of(x, state, pieces, self.width, self.base))
        q = rotate(rearrange(self.q_proj(x), "b l (h c) -> b l h c", c=self.width), plan.turn)
        k = rotate(rearrange(self.k_proj(x), "b l (k c) -> b l k c", c=self.width), plan.turn)
        v = rearrange(self.v_proj(x), "b l (k c) -> b l k c", c=self.width)
        if state is not None:
            k, keys = _cached(k, state["keys"], plan)
            v, values = _cached(v, state["values"], plan)
            state = {"keys": keys, "values": values}
        if plan.pieces is not None and plan.kernel is not None:
            y = packed_attention.attention(q, k, v, plan.pieces, plan.kernel)
            return self.o_proj(rearrange(y, "b l h c -> b l (h c)")), state
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2).to(q.dtype),
            v.transpose(1, 2).to(q.dtype),
            attn_mask=plan.mask,
            is_causal=plan.mask is None,
            enable_gqa=self.kv_heads != self.heads,
        )
        return self.o_proj(rearrange(y, "b h l c -> b l (h c)")), state

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        shape = (batch, max_length, self.kv_heads, self.width)
        return {key: self.k_proj.weight.new_zeros(shape) for key in ("keys", "values")}


def _cached(new: Tensor, cache: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Writes `new` (b l k c) into the cache (b m k c); returns what is attended to (b f k c) and the cache."""
    new = new.to(cache.dtype)
    seen = torch.cat([cache[:, : plan.filled], new], 1) if plan.joined else None
    written = new.flatten(0, 1) if plan.kept is None else new.flatten(0, 1)[plan.kept]
    if torch.is_grad_enabled():
        cache = cache.clone()  # an earlier call's graph may hold it
    assert plan.slots is not None
    cache.flatten(0, 1).index_copy_(0, plan.slots, written)
    return cache[:, : plan.filled] if seen is None else seen, cache
