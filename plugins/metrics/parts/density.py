"""Gaussian kernel densities of one variable with Scott's rule, and how far two of them agree.

Shapes: n values, g points of the grid.
"""

import numpy as np

from core.errors import HubError
from plugins.metrics.parts.notes import Floats

GRID = 1 << 12
REACH = 8.0  # bandwidths beyond the outermost values that the grid holds
POINTS_OF_OVERLAP = 4001
POINTS_OF_DIVERGENCE = 1000
LEAST = 1e-12  # added to densities before a logarithm: a divergence is finite whatever the supports
KINDS = ("mgeval", "common")


class Density:
    """The mean of normal densities around each of n values, of deviation n^(-1/5) times theirs (Scott 1992).

    Values are shared out to the two nearest points of a fine grid and the sums smoothed by a Fourier transform
    (Silverman 1982): relative error about 1e-5, and a million values take no longer than a few. Values that are all
    equal get a narrow peak, where the rule gives no width at all. ValueError without values.
    """

    def __init__(self, values: Floats, span: tuple[float, float] | None = None) -> None:
        if not len(values):
            raise ValueError("a density needs at least one value")
        self.low, self.high = float(values.min()), float(values.max())
        left, right = (self.low, self.high) if span is None else span
        left, right = min(left, self.low), max(right, self.high)
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        # Never so narrow that the points at which overlap is measured would miss a peak.
        narrow = max(right - left, 1e-9 * max(abs(left), abs(right), 1.0)) / (POINTS_OF_OVERLAP - 1)
        self.bandwidth = max(deviation * len(values) ** -0.2, narrow)
        left, right = left - REACH * self.bandwidth, right + REACH * self.bandwidth
        self._points: Floats = np.linspace(left, right, GRID)
        self._values = self._smoothed(values, (right - left) / (GRID - 1))

    def _smoothed(self, values: Floats, spacing: float) -> Floats:
        place = (values - self._points[0]) / spacing
        below = np.clip(np.floor(place).astype(np.int64), 0, GRID - 2)
        above = place - below
        counts = np.bincount(below, 1 - above, GRID) + np.bincount(below + 1, above, GRID)
        # Twice the length, so that one end does not wrap around to the other.
        frequency = np.fft.rfftfreq(2 * GRID, d=spacing)
        kernel = np.exp(-2.0 * (np.pi * frequency * self.bandwidth) ** 2)
        smooth = np.fft.irfft(np.fft.rfft(counts, 2 * GRID) * kernel, 2 * GRID)[:GRID]
        return np.maximum(smooth, 0.0) / (spacing * len(values))

    def __call__(self, points: Floats) -> Floats:
        """The density at points (g,), 0 far from all values."""
        return np.interp(points, self._points, self._values, left=0.0, right=0.0)


def pair(one: Floats, other: Floats) -> tuple[Density, Density]:
    """The densities of two lists of values over their joint range."""
    span = min(one.min(), other.min()), max(one.max(), other.max())
    return Density(one, span), Density(other, span)


def overlap(f: Density, g: Density) -> float:
    """The area under the lower of two densities over the joint range of their values, from 0 to 1."""
    points = _joint(f, g, POINTS_OF_OVERLAP)
    if points[0] == points[-1]:
        return 1.0
    return min(float(np.trapezoid(np.minimum(f(points), g(points)), points)), 1.0)


def divergence(f: Density, g: Density, kind: str = "mgeval") -> float:
    """The Kullback-Leibler divergence in nats of f from g, each sampled at 1,000 points and brought to sum 1.

    "mgeval" samples either density over its own range, as that toolbox does: it compares shapes and is blind to
    position. "common" samples both over the joint range.
    """
    if kind not in KINDS:
        raise HubError(f'there is no kind of divergence "{kind}"; expected {" or ".join(KINDS)}')
    if kind == "common":
        points = _joint(f, g, POINTS_OF_DIVERGENCE)
        p, q = f(points) + LEAST, g(points) + LEAST
    else:
        p = f(np.linspace(f.low, f.high, POINTS_OF_DIVERGENCE)) + LEAST
        q = g(np.linspace(g.low, g.high, POINTS_OF_DIVERGENCE)) + LEAST
    p, q = p / p.sum(), q / q.sum()
    return max(float((p * np.log(p / q)).sum()), 0.0)


def _joint(f: Density, g: Density, count: int) -> Floats:
    return np.linspace(min(f.low, g.low), max(f.high, g.high), count)
