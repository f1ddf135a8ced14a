"""RWKV-7's recurrence: a decay of its own for each channel of the keys, and a write that replaces (DPLR).

    S_t = S_(t-1) (Diag(w_t) + a_t b_t^T) + v_t k_t^T
    y_t = S_t r_t

In a chunk the decays are split into a factor of the later step and one of the earlier. Since w is at least
exp(-exp(-1/2)), neither overflows over a chunk this short.

Shapes: b batch, l length, h heads, c width of a head, n chunks, q steps of a chunk.
Source: Peng et al., arXiv 2503.14456, section 3; Yang et al., arXiv 2406.06484, section 3.
"""

import torch
from torch import Tensor

from plugins.backbones.parts.recurrences.chunks import Chunks

_CHUNK = 32


def scan(
    r: Tensor,
    logs: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    before: Tensor | None,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """y (b l h c) and the last S (b h c c) from r, logs of w, k, v, a, b (b l h c) each and the S before."""
    batch, length, heads, width = k.shape
    chunks = Chunks(length, _CHUNK, starts)
    r, logs, k, v, a, b = (chunks.split(each).transpose(2, 3) for each in (r, logs, k, v, a, b))  # (b n h q c)
    total = logs.double().cumsum(3)
    middle, end = total[:, :, :, chunks.size // 2, None], total[:, :, :, -1:]
    early, late, last = (
        each.to(k.dtype).exp() for each in (middle - total, total - middle, total - logs - middle)
    )  # from a step to the middle, from there to a step, and to the step before it
    from_start, to_end, across = (each.to(k.dtype).exp() for each in (middle, end - middle, end))  # (b n h 1 c)
    r, a, k, b = r * late, a * last, k * early, b * early
    sees = chunks.sees().to(k.device)
    strictly = sees & sees.new_ones(chunks.size, chunks.size).tril(-1)
    put = (a @ k.transpose(-1, -2)).masked_fill(~strictly, 0) @ v  # what a step takes of what this chunk brought in
    # What a step takes hangs on what the steps before it took: a unit lower triangular system.
    # Autocast gives its product in 16 bits, for which there is no solver.
    system = -(a @ b.transpose(-1, -2)).to(a.dtype).masked_fill(~strictly, 0)
    of_b, of_k = ((r @ each.transpose(-1, -2)).masked_fill(~sees, 0) for each in (b, k))
    a, r = a * from_start, r * from_start
    k, b = k * to_end, b * to_end
    opened, closing = chunks.opened(), chunks.closing()
    if opened is not None and closing is not None:
        a, r = a * opened[..., None], r * opened[..., None]
        k, b = k * closing[..., None], b * closing[..., None]
        across = across * opened[..., -1:, None]
    one = torch.eye(chunks.size, dtype=system.dtype, device=system.device)
    solved = torch.linalg.solve_triangular(system, one.expand_as(system), upper=False, unitriangular=True)
    of_state, own = solved @ a, solved @ put
    added = v.transpose(-1, -2) @ k  # (b n h c c)
    state = v.new_zeros(batch, heads, width, width) if before is None else before.to(v.dtype)
    states, takes = [], []
    # Unbound, as the gradient of an indexed chunk is a whole row of zeros with one chunk in it.
    for parts in zip(*(each.unbind(1) for each in (of_state, own, across, added, b)), strict=True):
        reads, at_once, decay, local, key = parts
        states.append(state)
        takes.append(at_once + reads @ state.transpose(-1, -2))  # S_(t-1) a_t of each step, (b h q c)
        state = torch.addcmul(local, state, decay) + takes[-1].transpose(-1, -2) @ key
    y = of_k @ v + of_b @ torch.stack(takes, 1) + r @ torch.stack(states, 1).transpose(-1, -2)
    return chunks.join(y.transpose(2, 3)), state


def step(r: Tensor, logs: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One step: all (b h c), S before (b h c c) -> y (b h c), S after."""
    state = before.to(v.dtype)
    taken = state @ a[..., None]  # (b h c 1)
    state = state * logs.exp()[:, :, None] + taken * b[:, :, None] + v[..., None] * k[:, :, None]
    return (state @ r[..., None]).squeeze(-1), state
