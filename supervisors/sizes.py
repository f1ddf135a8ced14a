"""Models of equal size: every backbone gets the parameters of the reference, by its width and depth."""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from core.errors import HubError
from core.model.language_model import LanguageModel
from core.registry import Entry

TOLERANCE = 0.02
_GRAIN = 8  # widths are multiples of it
_WIDEST = 1024  # in grains


@dataclass(frozen=True)
class Shape:
    """A backbone's hyper-parameters, and the parameters of the language model around it."""

    hparams: Any
    parameters: int


def parameters(entry: Entry, hparams: Any, vocabulary: int) -> int:
    """How many parameters the language model has, embedding included; no memory is spent on them."""
    assert entry.build is not None
    with torch.device("meta"):
        return LanguageModel(entry.build(hparams), vocabulary).parameter_count()


def at(entry: Entry, vocabulary: int, **sizes: Any) -> Shape:
    """The backbone's defaults with `sizes`, without dropout."""
    assert entry.hparams is not None
    hparams = replace(entry.hparams(), dropout=0.0, **sizes)
    return Shape(hparams, parameters(entry, hparams, vocabulary))


def fit(entry: Entry, target: int, vocabulary: int, dim: int) -> Shape:
    """The shape with `target` parameters within 2 %, its width and depth in the proportion of the backbone's defaults.

    A backbone with a field `hidden`, the inner width of a feed-forward part, takes `dim` and is fitted by that field;
    any other by `dim`. HubError when no shape comes near.
    """
    assert entry.hparams is not None
    default = entry.hparams()
    free = "hidden" if getattr(default, "hidden", 0) else "dim"
    fixed = {"dim": dim} if free == "hidden" else {}
    wanted = getattr(default, free) / default.layers

    @cache
    def count(grains: int) -> tuple[int, int] | None:
        """Parameters with one block and with two; None where the backbone refuses the width."""
        try:
            one, two = (at(entry, vocabulary, layers=n, **{**fixed, free: grains * _GRAIN}).parameters for n in (1, 2))
        except ValueError:
            return None
        return one, two

    def with_depth(grains: int, layers: int) -> int:
        """Parameters at the first width from `grains` on that is not refused; every block has as many."""
        found = next((pair for g in range(grains, grains + 9) if (pair := count(g))), (0, 0))
        return found[0] + (found[1] - found[0]) * (layers - 1)

    best: tuple[float, dict[str, int]] | None = None
    widest = _WIDEST
    for layers in range(1, 4 * default.layers + 1):
        low, high = 1, widest
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if with_depth(middle, layers) < target else (low, middle)
        widest = low  # more blocks are narrower ones
        below, above = range(low - 1, max(0, low - 9), -1), range(low, low + 9)
        near = [found for side in (below, above) if (found := next((g for g in side if count(g)), 0))]
        if not near:
            continue
        grains = min(near, key=lambda g: abs(with_depth(g, layers) - target))
        if abs(with_depth(grains, layers) / target - 1) > TOLERANCE:
            continue
        distance = abs(math.log(grains * _GRAIN / layers / wanted))
        if best is not None and distance > best[0]:
            break  # and from here on ever narrower for its depth
        best = distance, {"layers": layers, free: grains * _GRAIN}
    if best is not None:
        shape = at(entry, vocabulary, **{**fixed, **best[1]})
        if abs(shape.parameters / target - 1) <= TOLERANCE:
            return shape
    raise HubError(f'no shape of backbone "{entry.name}" has {target:,} parameters within {TOLERANCE:.0%}')
