"""How sure a comparison of trained models is: intervals over pieces and seeds, and only the ranking that they support.

Two things vary: the music (other pieces would give other losses) and the training (another seed gives another
model). A row's figure is the sum of nats over the sum of notes, its variance the sum of both parts, its interval
Student's with the degrees of freedom of Welch and Satterthwaite (Biometrics Bulletin 1946), wide with three seeds.

Shapes: s seeds, p tested pieces.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from plugins.metrics.parts.intervals import FEWEST

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Row:
    """One model in several seeds on the same pieces: `nats` (s p), the `notes` (p,) of the pieces' own scores."""

    name: str
    nats: Floats
    notes: Floats

    @property
    def value(self) -> float:
        """Nats per note, mean over seeds."""
        return float(self.nats.mean(0).sum() / self.notes.sum())

    @property
    def by_seed(self) -> list[float]:
        """Nats per note of every seed."""
        return [float(value) for value in self.nats.sum(1) / self.notes.sum()]


@dataclass(frozen=True)
class Estimate:
    """A value and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Nats per note of `first` minus those of `second`; `better` is the lower one if the interval excludes 0, else
    empty."""

    first: str
    second: str
    estimate: Estimate
    better: str


def interval(row: Row, level: float = LEVEL) -> Estimate:
    """The row's figure with its interval; with one seed it covers the pieces alone."""
    return _estimate(row.value, [_of_pieces(row.nats.mean(0), row.notes), _of_seeds(row)], level)


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Every pair on its shared pieces; intervals hold together at 95 % (Bonferroni).

    One seed alone ranks nothing, nor do fewer than eight pieces.

    ValueError when the rows do not stand on the same pieces.
    """
    pairs = list(combinations(rows, 2))
    found = []
    for first, second in pairs:
        if not np.array_equal(first.notes, second.notes):
            raise ValueError(f"{first.name} and {second.name} were not measured on the same pieces")
        level = 1 - (1 - LEVEL) / len(pairs)
        paired = _of_pieces(first.nats.mean(0) - second.nats.mean(0), first.notes)
        # A spread seen in two seeds is a guess that many seeds of the other row do not mend, and where it comes out
        # small by chance Welch's degrees of freedom believe it: both count as the row with fewer seeds does.
        fewest = min(len(first.nats), len(second.nats))
        seeds = [(_of_seeds(row)[0], max(fewest - 1, 1)) for row in (first, second)]
        estimate = _estimate(first.value - second.value, [paired, *seeds], level)
        several = fewest > 1 and len(first.notes) >= FEWEST
        better = ""
        if several and (estimate.low > 0 or estimate.high < 0):
            better = second.name if estimate.low > 0 else first.name
        found.append(Difference(first.name, second.name, estimate, better))
    return found


def _of_pieces(nats: Floats, notes: Floats) -> tuple[float, int]:
    """Variance of the ratio of sums over pieces (the delta method; Cochran 1977, section 6.4), degrees of freedom."""
    count = len(notes)
    if count < 2:
        return math.inf, 1
    residuals = nats - nats.sum() / notes.sum() * notes
    return float(count / (count - 1) * (residuals**2).sum() / notes.sum() ** 2), count - 1


def _of_seeds(row: Row) -> tuple[float, int]:
    """Variance of the mean over seeds and its degrees of freedom; none with a single seed."""
    seeds = len(row.nats)
    return (0.0, 1) if seeds < 2 else (float(np.var(row.by_seed, ddof=1) / seeds), seeds - 1)


def _estimate(value: float, parts: Sequence[tuple[float, int]], level: float) -> Estimate:
    variance = sum(part for part, _ in parts)
    if not math.isfinite(variance):
        return Estimate(value, -math.inf, math.inf)
    if variance == 0:
        return Estimate(value, value, value)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = student(0.5 + level / 2, freedom) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)


def student(probability: float, freedom: float) -> float:
    """The quantile of Student's t for a probability above one half; `freedom` of at least 1 need not be whole.

    With x = sqrt(freedom) tan(a) the density is cos(a) ** (freedom - 1) over a bounded range, which is summed directly.
    """
    assert 0.5 < probability < 1 and freedom >= 1
    # Beyond 1e6 the normal distribution is met to six digits, and the range below would be needlessly fine.
    freedom = min(freedom, 1e6)
    spread = min(math.pi / 2, 40 / math.sqrt(freedom))  # where all of the mass lies
    angles = np.linspace(0, spread, 20_001)
    density = np.cos(angles).clip(0) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = np.interp((probability - 0.5) * 2, mass / mass[-1], angles)
    return float(math.sqrt(freedom) * math.tan(angle))
