"""Where the bars of a score begin, by its meters; 4/4 until one is told."""

from typing import Any

import symusic


def bar_lines(score: symusic.Score, end: float) -> list[float]:
    """Starts, in quarters, of the bars that begin up to `end`; a change of meter begins a bar."""
    tpq = score.ticks_per_quarter
    meters: list[tuple[float, Any]] = [(m.time / tpq, m.numerator * 4 / m.denominator) for m in score.time_signatures]
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0.0, 4.0))
    lines: list[float] = []
    for (start, length), stop in zip(meters, [m[0] for m in meters[1:]] + [end + 1e-6], strict=True):
        while start < min(stop, end + 1e-6) - 1e-9 and length > 0:
            lines.append(start)
            start += length
    return lines
