"""What every metric returns: a value with its interval, the number of pieces it rests on, and the number that failed.

Intervals are of 95 % and seeded, so that the same pieces give the same figures. With n = 0 the value is 0 and means
nothing: print n.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from core.seeds import generator
from plugins.metrics.parts.notes import Floats, Integers

DRAWS = 1000
HALVES = 100
LEVEL = 0.95
FEWEST = 8  # pieces, below which halves tell nothing of how the whole varies, nor an interval enough for a verdict
Result = dict[str, Any]


def summary(values: Iterable[float | None], *, seed: int = 0) -> Result:
    """The mean over pieces with a percentile bootstrap interval (Efron 1979).

    A value that is None or not finite is a failure. Keys: value, low, high, std (population), n, failures.
    """
    given = list(values)
    usable = np.sort([float(v) for v in given if v is not None and math.isfinite(v)]).astype(np.float64)
    failures = len(given) - len(usable)
    if not len(usable):
        return {"value": 0.0, "low": 0.0, "high": 0.0, "std": 0.0, "n": 0, "failures": failures}
    mean = float(usable.mean())
    draws = generator("bootstrap", seed, len(usable))
    # In parts, so that thousands of pieces need no thousand copies of them at once.
    means = np.concatenate([usable[draws.integers(0, len(usable), (50, len(usable)))].mean(1) for _ in range(20)])
    assert len(means) == DRAWS
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # The mean of n equal numbers may differ from them in the last digit.
    low, high = min(float(low), mean), max(float(high), mean)
    return {"value": mean, "low": low, "high": high, "std": float(usable.std()), "n": len(usable), "failures": failures}


def ratio(amounts: Sequence[float], sizes: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Sum of amounts over sum of sizes, with the bounds of a percentile bootstrap over the pairs; 0 without any."""
    a, b = np.asarray(amounts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if not b.sum():
        return 0.0, 0.0, 0.0
    value = float(a.sum() / b.sum())
    draws = generator("bootstrap", seed, len(a))
    found = []
    for _ in range(20):  # in parts, as above
        rows = draws.integers(0, len(a), (DRAWS // 20, len(a)))
        total = b[rows].sum(1)
        found.append(np.where(total > 0, a[rows].sum(1) / np.where(total > 0, total, 1.0), value))
    low, high = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, min(float(low), value), max(float(high), value)


def share(count: int, total: int) -> Result:
    """A share of pieces with Wilson's interval (1927), which says something also where the count is 0 or all."""
    if not total:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0, "count": 0}
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    value, spread = count / total, z * z / total
    middle = (value + spread / 2) / (1 + spread)
    reach = z * math.sqrt(value * (1 - value) / total + spread / total / 4) / (1 + spread)
    low, high = max(min(middle - reach, value), 0.0), min(max(middle + reach, value), 1.0)
    return {"value": value, "low": low, "high": high, "n": total, "count": count}


def compared(measure: Callable[[Any], float | None], generated: Sequence[Any], reference: Sequence[Any]) -> Result:
    """The summary of a measure over generated pieces; `reference` holds the same over the reference pieces."""
    return {
        **summary(measure(score) for score in generated),
        "reference": summary(measure(score) for score in reference),
    }


def by_halves(
    statistic: Callable[[list[Integers]], float],
    sizes: Sequence[int],
    value: float,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    seed: int = 0,
) -> tuple[float, float] | tuple[None, None]:
    """An interval around `value` for a statistic of several sets of pieces, from random halves of each.

    A half drawn without replacement varies around the whole as the whole does around the truth (Politis & Romano
    1994), and unlike a bootstrap sample holds no piece twice, which would put false zeros among pairwise distances.
    `statistic` takes one array of positions for each set; `least` and `most` are the bounds of what it can be. Halves
    of fewer than FEWEST pieces are so few, and so alike, that they vary less than the whole does: no interval then.
    """
    if min(sizes, default=0) < FEWEST:
        return None, None
    draws = generator("halves", seed, *sizes)
    found: Floats = np.array(
        [statistic([np.sort(draws.permutation(size)[: size // 2]) for size in sizes]) for _ in range(HALVES)]
    )
    down, up = np.quantile(found - found.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return max(least, min(value + float(down), value)), min(most, max(value + float(up), value))


def split_half(statistic: Callable[[Integers, Integers], float], size: int, *, part: int = 0, seed: int = 0) -> Result:
    """What the statistic gives between two random halves of one set: the floor that noise alone puts under it.

    `part` limits the size of either half. Keys: value (the mean over 20 splits), low, high (their extremes), n (of one
    half).
    """
    half = min(size // 2, part) if part else size // 2
    if half < 2:
        return {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    draws = generator("split half", seed, size)
    found = []
    for _ in range(20):
        order = draws.permutation(size)
        found.append(statistic(np.sort(order[:half]), np.sort(order[half : 2 * half])))
    return {"value": float(np.mean(found)), "low": min(found), "high": max(found), "n": half}
