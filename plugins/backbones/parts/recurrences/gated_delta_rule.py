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
    q, k, v, beta = (chunks.split(each).transpose(2, 3) for each in (q, k, v, beta[..., None]))  # (b n h q ...)
    turned = k.transpose(-1, -2)
    written = k * beta
    # What a step writes hangs on what the steps before it wrote: a unit lower triangular system.
    system = ((written @ turned) * decays.within).tril(-1)
    into = decays.into[..., None]
    given = torch.cat([v * beta, written * into], -1)
    solved = torch.linalg.solve_triangular(system, given.to(system.dtype), upper=False, unitriangular=True)
    values, reads = solved.split([v.shape[-1], width], -1)
    scores = (q @ turned) * decays.within
    q, k = q * into, (k * decays.out[..., None]).transpose(-1, -2)
    across = decays.across[..., None, None]
    state = v.new_zeros(batch, heads, width, v.shape[-1]) if before is None else before.to(v.dtype)
    outputs = []
    for i in range(chunks.count):
        new = values[:, i] - reads[:, i] @ state  # (b h q v)
        outputs.append(q[:, i] @ state + scores[:, i] @ new)
        state = across[:, i] * state + k[:, i] @ new
    return chunks.join(torch.stack(outputs, 1).transpose(2, 3)), state


def step(q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One step: q, k (b h c), v (b h v), logs, beta (b h), before (b h c v) -> o (b h v), the state after."""
    state = before.to(v.dtype) * logs.exp()[..., None, None]
    new = beta[..., None] * (v - (k[:, :, None] @ state).squeeze(2))
    state = torch.addcmul(state, k[..., None], new[:, :, None])
    return (q[:, :, None] @ state).squeeze(2), state
