"""One seedable sampler: repetition penalty, mask, temperature, top-k, top-p, min-p, in this order; then the draw.

Each step works on what the one before left over. Definitions: repetition penalty of CTRL (arXiv 1909.05858, section
4.1, with the sign kept in mind), top-k (arXiv 1805.04833), nucleus or top-p (arXiv 1904.09751), min-p (2407.01082).

Shapes: b batch, v vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_TOP_P_SLACK = 1e-12  # rounding of a cumulative sum in float64 must not let one token more in
_MASK64 = (1 << 64) - 1
BROKEN, EMPTY = -1, -2  # in place of an id, of a row with NaN or infinite logits, and of one with nothing left


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token; the defaults draw from the model's own distribution."""

    temperature: float = 1.0  # divides the logits; 0: the likeliest token
    top_k: int = 0  # keeps the k likeliest tokens; 0: all
    top_p: float = 1.0  # keeps the fewest likeliest tokens whose probabilities reach this sum; 1: all
    min_p: float = 0.0  # keeps tokens at least this share as likely as the likeliest; 0: all
    seed: int = 0
    repetition_penalty: float = 1.0  # weakens ids already in the piece; 1: none

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("temperature", 0 <= self.temperature < math.inf, "0 (greedy) or more"),
            ("top_k", self.top_k >= 0, "0 (all) or more"),
            ("top_p", 0 < self.top_p <= 1, "a share above 0 to 1"),
            ("min_p", 0 <= self.min_p <= 1, "a share from 0 to 1"),
            ("repetition_penalty", 1 <= self.repetition_penalty < math.inf, "1 (none) or more"),
        ):
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {expected}")


def filtered(logits: Tensor, sampling: Sampling, allowed: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
    """Log-probabilities (b v), float64, of what is left to draw from; -inf for what is not.

    `allowed` (b v) bool is a mask that nothing passes; `seen` (b v) bool says which ids the row holds already, for the
    repetition penalty. Equal logits rank by id, so never more than k tokens survive top-k. ValueError when logits are
    NaN or +inf, or when a row has nothing left to draw.
    """
    left, wrong = _filtered(logits, sampling, allowed, seen)
    insist_drawn(wrong.tolist())  # asked once: on a GPU the answer is waited for
    return left


def _filtered(logits: Tensor, sampling: Sampling, allowed: Tensor | None, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left (b v), and for each row (b,) 0 or what is wrong with it: BROKEN or EMPTY."""
    scores = logits.double()
    broken = ~(scores.amax(-1) < math.inf)  # NaN is not less either
    if sampling.repetition_penalty != 1 and seen is not None:
        weaker = torch.where(scores > 0, scores / sampling.repetition_penalty, scores * sampling.repetition_penalty)
        scores = torch.where(seen, weaker, scores)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    best = scores.amax(-1, keepdim=True)
    wrong = torch.zeros_like(broken, dtype=torch.int64).masked_fill(best[:, 0] == -math.inf, EMPTY)
    wrong = wrong.masked_fill(broken, BROKEN)
    if sampling.temperature == 0 or sampling.top_k or sampling.top_p < 1:
        return _ranked(scores, sampling), wrong
    scores = (scores - best) / sampling.temperature  # log of the ratio to the likeliest
    if sampling.min_p > 0:
        scores = scores.masked_fill(scores < math.log(sampling.min_p), -math.inf)
    return scores.log_softmax(-1), wrong


def insist_drawn(told: Sequence[int]) -> None:
    """ValueError for the first row of what `chosen` drew that has no id: a broken one, else an empty one."""
    if BROKEN in told:
        row = told.index(BROKEN)
        raise ValueError(f"logits of row {row} hold NaN or infinity; the model has diverged or its weights are damaged")
    if EMPTY in told:
        raise ValueError(f"row {told.index(EMPTY)} has no token that it may draw: its mask allows none")


def _ranked(scores: Tensor, sampling: Sampling) -> Tensor:
    """`filtered` where it takes an order: sorting the vocabulary costs more than all the rest of a draw."""
    ordered, ids = scores.sort(dim=-1, descending=True, stable=True)
    keep = ordered > -math.inf
    if sampling.temperature == 0:
        keep[:, 1:] = False
    else:
        ordered = (ordered - ordered[:, :1]) / sampling.temperature
        if sampling.top_k:
            keep[:, sampling.top_k :] = False
        if sampling.top_p < 1:
            reached = ordered.masked_fill(~keep, -math.inf).softmax(-1).cumsum(-1)
            keep &= F.pad(reached[:, :-1], (1, 0)) < sampling.top_p - _TOP_P_SLACK
            keep[:, 0] = True
        if sampling.min_p > 0:
            keep &= ordered >= math.log(sampling.min_p)
    ordered = ordered.masked_fill(~keep, -math.inf).log_softmax(-1)
    return torch.empty_like(ordered).scatter_(-1, ids, ordered)


def draw(
    logits: Tensor,
    sampling: Sampling,
    rows: Tensor,
    step: int,
    allowed: Tensor | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """Draws one id a row (b,) from logits (b v); row i's number depends on (seed, rows[i], step) and nothing else.

    So a row draws the same alone as in a batch, and whatever order the rows stand in. Errors as in `filtered`.
    """
    drawn = chosen(logits, sampling, uniform(sampling.seed, rows.to(logits.device), step), allowed, seen)
    insist_drawn(drawn.tolist())
    return drawn


def chosen(
    logits: Tensor, sampling: Sampling, numbers: Tensor, allowed: Tensor | None = None, seen: Tensor | None = None
) -> Tensor:
    """One id a row (b,) from logits (b v) and the numbers (b,) that `uniform` gives; BROKEN or EMPTY in place of none.

    Nothing in it waits for a GPU.
    """
    left, wrong = _filtered(logits, sampling, allowed, seen)
    cumulative = left.exp().cumsum(-1)  # (b v)
    total = cumulative[:, -1]
    point = numbers * total
    point = torch.minimum(point, torch.nextafter(total, torch.zeros_like(total)))
    ids = torch.searchsorted(cumulative, point[:, None], right=True)[:, 0]
    return torch.where(wrong < 0, wrong, ids)


def uniform(seed: int, rows: Tensor, step: int | Tensor) -> Tensor:
    """Numbers (b,) in [0, 1), float64, 53 bits: a hash of (seed, row, step), the same on every device.

    Several steps (n 1) at once give (n b).

    Counter-based, in the manner of splitmix64 (Steele, Lea, Flood, OOPSLA 2014), whose output function mixes in one
    key after the other.
    """
    state = torch.full_like(rows, _signed(seed & _MASK64))
    state = _mix(_mix(_mix(state) + rows) + step)
    return _shift(state, 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    """One step of splitmix64 on int64 tensors, whose sums and products wrap around as unsigned ones do."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shifts right and fills with zeros, which int64's own shift does not."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    return value - (1 << 64) if value >> 63 else value
