"""How a measure becomes a law of backbones, and how two tensors are compared.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from plugins.laws.backbones.subject import Size, Subject, deviation, place
from plugins.laws.law import Finding

Measure = Callable[[Subject, Size], Iterable[Finding]]


class Marked(NamedTuple):
    """A measure with its law's name; `long` adds long rows, `within` replaces the usual tolerance."""

    name: str
    measure: Measure
    long: bool
    within: Mapping[torch.dtype, float] | float | None


MEASURES: list[Marked] = []


def law(
    name: str, *, long: bool = False, within: Mapping[torch.dtype, float] | float | None = None
) -> Callable[[Measure], Measure]:
    """Marks a measure as a law. `long`: also on rows that cross the borders of chunks inside a backbone."""

    def mark(measure: Measure) -> Measure:
        MEASURES.append(Marked(name, measure, long, within))
        return measure

    return mark


def equal(what: str, found: Tensor, expected: Tensor) -> Finding:
    """Compares two tensors (b l d) and says where they differ most."""
    by = deviation(found, expected)
    return Finding(f"{what}; most at {place(found, expected)}" if by else what, by)
