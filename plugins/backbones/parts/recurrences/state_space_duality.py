"""Mamba-2's recurrence, in chunks of matrix products and step by step.

    h_t = exp(a_t) h_(t-1) + x_t B_t^T
    y_t = h_t C_t

Shapes: b batch, l length, h heads, p channels of a head, g groups, r heads of a group, s state dimensions, n chunks,
q steps of a chunk.
Source: Dao & Gu, arXiv 2405.21060, section 6.
"""

import torch
from torch import Tensor

from plugins.backbones.parts.recurrences.chunks import Chunks

_CHUNK = 64


def scan(
    x: Tensor, logs: Tensor, B: Tensor, C: Tensor, before: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y (b l h p) and the last state from x (b l h p), logs (b l h) <= 0, B, C (b l g s) and before (b h p s)."""
    batch, length, heads, width = x.shape
    groups, states = B.shape[2:]
    chunks = Chunks(length, _CHUNK, starts)
    decays = chunks.decays(logs)
    x, B, C = (chunks.split(each).transpose(2, 3) for each in (x, B, C))  # (b n h q p), (b n g q s)
    scores = C @ B.transpose(-1, -2)  # (b n g q q)
    by_group = (groups, heads // groups)
    mixed = scores[:, :, :, None] * decays.within.unflatten(2, by_group)  # (b n g r q q)
    y = mixed.flatten(2, 3) @ x  # (b n h q p)
    added = (x * decays.out[..., None]).unflatten(2, by_group).transpose(-1, -2) @ B[:, :, :, None]  # (b n g r p s)
    state = x.new_zeros(batch, heads, width, states) if before is None else before.to(x.dtype)
    states_before = []
    for local, across in zip(added.flatten(2, 3).unbind(1), decays.across[..., None, None].unbind(1), strict=True):
        states_before.append(state)
        state = across * state + local
    past = torch.stack(states_before, 1).unflatten(2, by_group)  # (b n g r p s)
    read = C @ past.flatten(3, 4).transpose(-1, -2)  # (b n g q rp)
    read = read.unflatten(-1, (-1, width)).transpose(3, 4).flatten(2, 3)  # (b n h q p)
    y = y + read * decays.into[..., None]
    return chunks.join(y.transpose(2, 3)), state


def step(x: Tensor, logs: Tensor, B: Tensor, C: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One step: x (b h p), logs (b h), B, C (b g s), before (b h p s) -> y (b h p), the state after."""
    share = x.shape[1] // B.shape[1]
    B, C = (each.repeat_interleave(share, 1) for each in (B, C))  # (b h s)
    state = torch.addcmul(x[..., None] * B[:, :, None], logs.exp()[..., None, None], before.to(x.dtype))
    return (state @ C[..., None]).squeeze(-1), state
