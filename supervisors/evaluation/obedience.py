"""How far a model does what its controls ask: the number asked of each piece, what it came to, their correlation.

Each control whose value is a number is asked for by itself, the others left open. A piece's number is what `of` of the
control tells of it, in the mean over its tokens; a piece of which it tells nothing is a failure.

Shapes: n pieces, c width of all controls.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.contracts.control import Control
from core.contracts.tokenizer import Ids, Tokenizer
from core.log import logger
from core.model.conditioning import Known
from core.seeds import generator
from hparams.base import HParams
from plugins.manager import Manager
from plugins.metrics.parts.intervals import DRAWS, FEWEST, LEVEL
from plugins.metrics.parts.notes import Floats
from supervisors.evaluation.makers import Maker
from supervisors.generating.asked import asked_of
from supervisors.training.data.controls import controls_of


def obedience(
    manager: Manager, hparams: HParams, tokenizer: Tokenizer, maker: Maker, length: int
) -> dict[str, dict[str, Any]]:
    """By control: `evaluate.count` pieces of at most `length` tokens, its `numbers` in turn, and what came of them."""
    found = {}
    for name, control in zip(hparams.model.controls, controls_of(manager, hparams), strict=True):
        numbers = [float(number) for number in getattr(control, "numbers", ())]
        if not numbers:
            continue
        asked = [numbers[piece % len(numbers)] for piece in range(hparams.evaluate.count)]
        known = [_asking(manager, hparams, name, number) for number in asked]
        every = Known(torch.cat([one.values for one in known]), torch.cat([one.given for one in known]))  # (n 1 c)
        pieces, _ = maker.by_model([[] for _ in asked], length, f"ask for {name}", every)
        got = [told(control, ids, tokenizer) for ids in pieces]
        found[name] = {"meaning": control.describe(), **compared(asked, got)}
    return found


def _asking(manager: Manager, hparams: HParams, name: str, number: float) -> Known:
    """What is known where a person asks for the number, and for nothing else."""
    asked = replace(hparams, generate=replace(hparams.generate, controls={name: f"{number:g}"}))
    known = asked_of(manager, asked)
    assert known is not None, "the model has this control"
    return known


def told(control: Control, ids: Ids, tokenizer: Tokenizer) -> float | None:
    """The number of a piece; None where nothing is known of it."""
    try:
        vectors = control.of(tokenizer.decode(ids), ids, tokenizer)
        number = float(np.mean(control.number(vectors)))  # type: ignore[attr-defined]
    except Exception as error:  # a plugin may raise anything; the page says how many failed
        logger.debug("an output tells no number: %s", error)
        return None
    return number if np.isfinite(number) else None


def compared(asked: Sequence[float], got: Sequence[float | None]) -> dict[str, Any]:
    """Asked and got of each piece that tells a number, how many do not, and both correlations."""
    pairs = [(one, other) for one, other in zip(asked, got, strict=True) if other is not None]
    given, came = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    return {
        "asked": given.tolist(),
        "got": came.tolist(),
        "n": len(pairs),
        "failures": len(asked) - len(pairs),
        "pearson": _bounded(pearson, given, came),
        "spearman": _bounded(spearman, given, came),
    }


def _bounded(statistic: Callable[[Floats, Floats], float | None], a: Floats, b: Floats) -> dict[str, float | None]:
    """A correlation and its percentile bootstrap over pieces (Efron 1979); no bounds for few pieces."""
    value, low, high = statistic(a, b), None, None
    if value is not None and len(a) >= FEWEST:
        draws = generator("bootstrap", "correlation", len(a)).integers(0, len(a), (DRAWS, len(a)))
        again = [one for rows in draws if (one := statistic(a[rows], b[rows])) is not None]
        low, high = (float(np.quantile(again, side)) for side in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return {"value": value, "low": low, "high": high}


def pearson(a: Floats, b: Floats) -> float | None:
    """How far b is a straight line of a, from -1 to 1; None where either does not vary."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    x, y = a - a.mean(), b - b.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def spearman(a: Floats, b: Floats) -> float | None:
    """How far b goes up with a, whatever the curve: Pearson's of ranks, equal numbers sharing their mean rank."""
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[places])
