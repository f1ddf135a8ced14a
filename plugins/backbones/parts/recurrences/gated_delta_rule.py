"""The gated delta rule, in chunks of matrix products and step by step.

    S <- exp(g_t) S
    S <- S + k_t (beta_t (v_t - S^T k_t))^T
    o_t = S^T q_t

Shapes: b batch, l length, h heads, c width of keys, v width of values, n chunks, q steps of a chunk.
Source: Yang et al., arXiv 2412.06464, sections 3.1 and 3.3.
"""

import torch
from torch import Tensor

from plugins.backbones.parts.recurrences.chunks import Chunks

_CHUNK = 64


def scan(
    q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor, before: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """o (b l h v) and the last state (b h c v) from q, k (b l h c), v (b l h v), logs <= 0 and beta (b l h)."""
    batch, length, heads, width = k.shape
    chunks = Chunks(length, _CHUNK, starts)
    decays = chunks.decays(logs)
    q, k, v, beta = (
        chunks.split(each).transpose(2, 3).contiguous() for each in (q, k, v, beta[..., None])
    )  # (b n h q ...)
    turned = k.transpose(-1, -2)
    written = k * beta
    # What a step writes hangs on what the steps before it wrote: a unit lower triangular system, whose solver reads
    # neither the diagonal nor what is above it.
    system = (written @ turned) * decays.within
    into = decays.into[..., None]
    one = torch.eye(chunks.size, dtype=system.dtype, device=system.device)
    solved = torch.linalg.solve_triangular(system, one.expand_as(system), upper=False, unitriangular=True)
    values, reads = solved @ (v * beta), solved @ (written * into)
    scores = (q @ turned) * decays.within
    q, k = q * into, (k * decays.out[..., None]).transpose(-1, -2)
    state = v.new_zeros(batch, heads, width, v.shape[-1]) if before is None else before.to(v.dtype)
    states, news = [], []
    # Unbound, as the gradient of an indexed chunk is a whole row of zeros with one chunk in it.
    for value, read, key, across in zip(*(each.unbind(1) for each in (values, reads, k, decays.across)), strict=True):
        states.append(state)
        news.append(value - read @ state)  # (b h q v)
        state = torch.addcmul(key @ news[-1], across[..., None, None], state)
    y = q @ torch.stack(states, 1) + scores @ torch.stack(news, 1)
    return chunks.join(y.transpose(2, 3)), state


def step(q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One step: q, k (b h c), v (b h v), logs, beta (b h), before (b h c v) -> o (b h v), the state after."""
    state = before.to(v.dtype) * logs.exp()[..., None, None]
    new = beta[..., None] * (v - (k[:, :, None] @ state).squeeze(2))
    state = torch.addcmul(state, k[..., None], new[:, :, None])
    return (q[:, :, None] @ state).squeeze(2), state
