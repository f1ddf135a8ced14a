"""The mLSTM's memory with exponential gates, in chunks of matrix products and step by step.

    m_t = max(f_t + m_(t-1), i_t)
    (C, n)_t = exp(f_t + m_(t-1) - m_t) (C, n)_(t-1) + exp(i_t - m_t) k_t (v_t, 1)^T
    y_t = C_t^T q_t / (max(|n_t . q_t|, exp(-m_t)) + 1e-6)

with f the logarithm of the forget gate. m keeps the exponentials small; it begins at 0 in every piece. C and n are kept
as one matrix, n being its last column.

Shapes: b batch, l length, h heads, c width of keys, v width of values, n chunks, q steps of a chunk.
Source: Beck et al., arXiv 2405.04517, section 2.3; arXiv 2503.13427, appendix.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from plugins.backbones.parts.recurrences.chunks import Chunks

_CHUNK = 64
_EPS = 1e-6
Memory = tuple[Tensor, Tensor]  # C and n (b h c v+1), m (b h)


def scan(
    q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, before: Memory | None, starts: Tensor | None
) -> tuple[Tensor, Memory]:
    """y (b l h v) and the memory after from q, k (b l h c), v (b l h v), i and f <= 0 (b l h)."""
    batch, length, heads, width = k.shape
    chunks = Chunks(length, _CHUNK, starts)
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    q, k, v = (chunks.split(each).transpose(2, 3) for each in (q, k, v))  # (b n h q ...)
    spare = chunks.count * chunks.size - length
    gates = F.pad(i.double(), (0, 0, 0, spare), value=-torch.inf).unflatten(1, (chunks.count, -1)).movedim(3, 2)
    fall = chunks.split(f.double()).movedim(3, 2)
    total = fall.cumsum(3)  # (b n h q)
    log_weights = total[..., :, None] - total[..., None, :] + gates[..., None, :]
    log_weights = log_weights.masked_fill(~chunks.sees().to(k.device), -torch.inf)
    since = total  # how much has been forgotten since the piece began, or since the chunk did
    opened = chunks.opened()
    if opened is not None:
        at_start = torch.where(chunks.split(starts)[:, :, None], total - fall, 0.0).double()  # type: ignore[arg-type]
        since = total - _latest(at_start, chunks)
    highest = log_weights.amax(-1)  # (b n h q)
    c = v.new_zeros(batch, heads, width, v.shape[-1]) if before is None else before[0].to(v.dtype)
    m = gates.new_zeros(batch, heads) if before is None else before[1].double()
    reach = torch.ones_like(total, dtype=torch.bool) if opened is None else opened.expand_as(total)
    ms, peaks = [], []
    # Unbound, as the gradient of an indexed chunk is a whole row of zeros with one chunk in it.
    for fallen, reached, own in zip(*(each.unbind(1) for each in (since, reach, highest)), strict=True):
        peak = torch.maximum(fallen + m[..., None] * reached, own)  # (b h q)
        ms.append(m)
        m = peak[..., -1].to(v.dtype).double()
        peaks.append(torch.cat([peak[..., :-1], m[..., None]], -1))
    peak = torch.stack(peaks, 1)
    carried = (since + torch.stack(ms, 1)[..., None] - peak).masked_fill(~reach, -torch.inf).to(v.dtype).exp()
    weights = (log_weights - peak[..., None]).to(v.dtype).exp()
    y = ((q @ k.transpose(-1, -2)) * weights) @ v  # (b n h q v+1)
    added = (k * weights[..., -1, :, None]).transpose(-1, -2) @ v  # (b n h c v+1)
    found = []
    for kept, local in zip(carried[..., -1, None, None].unbind(1), added.unbind(1), strict=True):
        found.append(c)
        c = kept * c + local
    y = y + (q @ torch.stack(found, 1)) * carried[..., None]
    y = _normalized(y, peak.to(v.dtype))
    return chunks.join(y.transpose(2, 3)), (c, m.to(v.dtype))


def _latest(at_start: Tensor, chunks: Chunks) -> Tensor:
    """For each step the entry (b n h q) at the latest start up to it in its chunk, 0 before the first."""
    assert chunks.piece is not None
    steps = torch.arange(chunks.size, device=at_start.device)
    marks = chunks.piece.diff(dim=-1, prepend=torch.zeros_like(chunks.piece[..., :1])) > 0
    latest = torch.where(marks, steps, 0).cummax(-1).values  # (b n q)
    return at_start.gather(-1, latest[:, :, None].expand_as(at_start))


def _normalized(y: Tensor, m: Tensor) -> Tensor:
    """The last column of y (... v+1) is what the others are divided by, at least exp(-m) (...)."""
    y, norm = y[..., :-1], y[..., -1:]
    return y / (torch.maximum(norm.abs(), (-m)[..., None].exp()) + _EPS)


def step(q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, before: Memory) -> tuple[Tensor, Memory]:
    """One step: q, k (b h c), v (b h v), i, f (b h) -> y (b h v), the memory after."""
    c, m = before[0].to(v.dtype), before[1].to(v.dtype)
    after = torch.maximum(f + m, i)
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    given = torch.exp(i - after)[..., None, None] * k[..., None] * v[:, :, None]
    c = torch.exp(f + m - after)[..., None, None] * c + given
    return _normalized((q[:, :, None] @ c).squeeze(2), after), (c, after)
