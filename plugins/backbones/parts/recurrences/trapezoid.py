"""Mamba-3's recurrence, which looks at this input and the last, in chunks of matrix products and step by step.

    h_t = a_t h_(t-1) + late_t a_t sum_r v_(t-1,r) k_(t-1,r)^T + now_t sum_r v_(t,r) k_(t,r)^T
    y_(t,r) = h_t q_(t,r)

with a = exp(logs), late = (1 - lambda) dt and now = lambda dt. The input of step t thus comes into the state twice: at
once, and with the next step.

Shapes: b batch, l length, r rank, h heads, p channels of a head, s state dimensions, n chunks, q steps of a chunk.
Source: arXiv 2603.15569, section 3.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from plugins.backbones.parts.recurrences.chunks import Chunks

_CHUNK = 64
Memory = tuple[Tensor, Tensor, Tensor]  # the state (b h p s), and the last keys (b r h s) and values (b r h p)


def scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    logs: Tensor,
    now: Tensor,
    late: Tensor,
    before: Memory | None,
    starts: Tensor | None,
) -> tuple[Tensor, Memory]:
    """y (b l r h p) and the memory after, from q, k (b l r h s), v (b l r h p) and logs <= 0, now, late (b l h)."""
    batch, length, rank, heads, states = k.shape
    width = v.shape[-1]
    chunks = Chunks(length, _CHUNK, starts)
    decays = chunks.decays(logs)
    after = _next(late)  # (b l h), by how much each input comes with the next step, if the piece goes on
    if starts is not None:
        after = after.masked_fill(_next(starts)[..., None], 0)
    total = now + after
    last = (k[:, -1], v[:, -1])
    # Ranks are sources and readers of their own: (b n h q r ...) laid out as (b n h qr ...).
    q, k, v = (chunks.split(each).permute(0, 1, 4, 2, 3, 5) for each in (q, k, v))  # (b n h q r ...)
    now, total = (chunks.split(each).transpose(2, 3) for each in (now, total))  # (b n h q)
    # What a step reads of itself has come in once.
    weights = decays.within.tril(-1) * total[..., None, :] + torch.diag_embed(now)
    wide = weights.repeat_interleave(rank, -2).repeat_interleave(rank, -1) if rank > 1 else weights
    flat_q, flat_k, flat_v = (each.flatten(3, 4) for each in (q, k, v))
    y = ((flat_q @ flat_k.transpose(-1, -2)) * wide) @ flat_v  # (b n h qr p)
    leaving = (v * (decays.out * total)[..., None, None]).flatten(3, 4)
    added = leaving.transpose(-1, -2) @ flat_k  # (b n h p s)
    if before is None:
        state = v.new_zeros(batch, heads, width, states)
    else:
        state = before[0].to(v.dtype) + late[:, 0, :, None, None] * _outer(before[1], before[2], v.dtype)
    found = []
    for local, across in zip(added.unbind(1), decays.across[..., None, None].unbind(1), strict=True):
        found.append(state)
        state = across * state + local
    read = (flat_q @ torch.stack(found, 1).transpose(-1, -2)).unflatten(3, (-1, rank))  # (b n h q r p)
    y = y.unflatten(3, (-1, rank)) + read * decays.into[..., None, None]
    return chunks.join(y.permute(0, 1, 3, 4, 2, 5)), (state, *last)


def _next(x: Tensor) -> Tensor:
    """x (b l ...) one step earlier, zeros at the end."""
    return F.pad(x[:, 1:], (0, 0) * (x.dim() - 2) + (0, 1))


def _outer(k: Tensor, v: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over ranks of v k^T, (b h p s) from k (b r h s), v (b r h p)."""
    return torch.einsum("brhp,brhs->bhps", v.to(dtype), k.to(dtype))


def step(
    q: Tensor, k: Tensor, v: Tensor, logs: Tensor, now: Tensor, late: Tensor, before: Memory
) -> tuple[Tensor, Memory]:
    """One step: q, k (b r h s), v (b r h p), logs, now, late (b h) -> y (b r h p), the memory after."""
    state = before[0].to(v.dtype) + late[..., None, None] * _outer(before[1], before[2], v.dtype)
    state = logs.exp()[..., None, None] * state + now[..., None, None] * _outer(k, v, v.dtype)
    return torch.einsum("bhps,brhs->brhp", state, q), (state, k, v)
