"""How much of what the card can do is done: model FLOPs over its products, weights read over its copies; and from
which length on one model is ahead of another.

Rows are those of the stages: `parameters` of the whole model, `bytes_of_weights`, `rate` in tokens a second,
`attention` (layers times width of attention, 0 without) and `seen` (the tokens that one attends to, itself included).
"""

import math
from typing import Any

Row = dict[str, Any]


def flops(row: Row) -> float:
    """Model FLOPs of training on one token: 6 a parameter (Kaplan et al., arXiv 2001.08361), and for attention 12 a
    layer, channel and token that is seen: a product with its key and one with its value, forward and twice backward."""
    return float(6 * row["parameters"] + 12 * row["attention"] * row["seen"])


def matrix_share(row: Row, machine: Row) -> float | None:
    """Model FLOP/s of training over the measured rate of bf16 products; None where either is missing."""
    rate = machine.get("matrix", {}).get("bf16")
    return row["rate"] * flops(row) / rate if rate and row.get("rate") else None


def memory_share(weights: int | None, rate: float | None, machine: Row) -> float | None:
    """Weights of so many bytes, read once for each of `rate` tokens a second, over the measured rate of copies."""
    copied = machine.get("copy")
    return weights * rate / copied if weights and rate and copied else None


def crossover(ahead: dict[int, float], other: dict[int, float]) -> float | None:
    """The length from which on `ahead` has the higher rate, of rates by length.

    Between the last measured length where it has not and the next one, the logarithm of their ratio is taken as linear
    in the logarithm of the length. 0 where it is behind nowhere, infinity where it is so at the longest, None where no
    length is measured of both.
    """
    lengths = sorted(ahead.keys() & other.keys())
    if not lengths:
        return None
    gains = [math.log(ahead[length] / other[length]) for length in lengths]
    behind = [at for at, gain in enumerate(gains) if gain <= 0]
    if not behind:
        return 0.0
    last = behind[-1]
    if last + 1 == len(lengths):
        return math.inf
    part = gains[last] / (gains[last] - gains[last + 1])
    return float(lengths[last] * (lengths[last + 1] / lengths[last]) ** part)


def rates(rows: list[Row], **chosen: Any) -> dict[int, float]:
    """Tokens a second by length, of the rows that have these values and were measured."""
    fitting = [row for row in rows if all(row.get(key) == value for key, value in chosen.items())]
    return {row["length"]: row["rate"] for row in fitting if row.get("rate")}
