"""Every registered metric over every row of a setting; what raises, or gives no number, is named and stops nothing."""

import inspect
import math
import time
from collections.abc import Sequence
from copy import deepcopy
from numbers import Real
from typing import Any

import numpy as np
from tqdm import tqdm

from core.registry import Entry
from plugins.manager import Manager
from plugins.metrics.parts.intervals import by_halves
from supervisors.evaluation.sets import Score, Setting

OWN = "swaptunes"  # the distribution of what ships
PATIENCE = 10.0  # seconds for the interval of a metric that gives a bare number
FEWEST_DRAWS = 20
Figure = dict[str, Any]


def measure(manager: Manager, setting: Setting, training: Sequence[Score], what: str) -> dict[str, Figure]:
    """{metric: {"unit", "higher_is_better", "meaning", "rows": {row: figure}}}.

    A figure has value, low, high, n, failures and what else the metric tells, or `error`. The interval of a metric that
    gives a bare number comes from random halves of both sets; low and high are None where pieces are too few for that,
    or it would take too long.
    """
    found: dict[str, Figure] = {}
    entries = [entry for entry in manager.metrics.values() if not entry.extra["apart"]]
    for entry in tqdm(entries, desc=what, unit="metric", dynamic_ncols=True):
        # What a foreign function does to its music must not reach the measures after it, nor the search for copies.
        given, known = (setting, training) if entry.distribution == OWN else deepcopy((setting, list(training)))
        rows = {name: _figure(entry, pieces, given, known) for name, pieces in given.rows.items()}
        found[entry.name] = {
            "unit": entry.extra["unit"],
            "higher_is_better": entry.extra["higher_is_better"],
            "headline": entry.extra["headline"],
            "meaning": _first_sentence(inspect.getdoc(entry.function) or ""),
            "rows": rows,
        }
    return found


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _figure(entry: Entry, pieces: Sequence[Any], setting: Setting, training: Sequence[Score]) -> Figure:
    usual = {"value": None, "low": None, "high": None, "n": len(pieces), "failures": 0}
    began = time.perf_counter()
    try:
        given = _call(entry, pieces, setting.reference, setting.prompts, training)
        seconds = time.perf_counter() - began
        if isinstance(given, dict):
            if "value" not in given:
                raise ValueError(f"the metric gives a dict without a value: {', '.join(map(str, given)) or 'empty'}")
            told = {key: value.item() if isinstance(value, np.generic) else value for key, value in given.items()}
            kept = {key: one for key, one in told.items() if isinstance(key, str) and (key in usual or _plain(one))}
            return _insist_numbers(usual | kept)
        if isinstance(given, str | bytes):
            raise ValueError(f"the metric gives {given!r}; expected a number or a dict")
        figure = _insist_numbers(usual | {"value": float(given)})
        if seconds * FEWEST_DRAWS < PATIENCE:
            figure |= _interval(entry, pieces, setting, training, figure["value"])
        return figure
    except (Exception, SystemExit) as error:  # whatever a plugin raises is that plugin's failure
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def _call(
    entry: Entry, pieces: Sequence[Any], reference: Sequence[Any], prompts: Sequence[Any], training: Sequence[Any]
) -> Any:
    assert entry.function is not None
    asked = {
        name
        for name, parameter in inspect.signature(entry.function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    extra: dict[str, Any] = {"training": list(training)} if "training" in asked else {}
    if "prompts" in asked:
        extra["prompts"] = list(prompts) or None
    return entry.function(list(pieces), list(reference), **extra)


def _insist_numbers(figure: Figure) -> Figure:
    for key in ("value", "low", "high", "n", "failures"):
        number = figure[key]
        if number is None and key in ("low", "high"):
            continue
        if not isinstance(number, Real) or not math.isfinite(number):
            raise ValueError(f"the metric gives {number!r} for its {key}; expected a finite number")
    if figure["low"] is not None and figure["high"] is not None and figure["low"] > figure["high"]:
        raise ValueError(f"the metric gives an interval from {figure['low']} to {figure['high']}; expected low <= high")
    return figure


def _interval(
    entry: Entry, pieces: Sequence[Any], setting: Setting, training: Sequence[Score], value: float
) -> dict[str, float | None]:
    prompts, reference = setting.prompts, setting.reference

    def of_rows(rows: Any) -> float:
        mine = [pieces[k] for k in rows[0]]
        if prompts:  # pairs stay together
            return float(_call(entry, mine, [reference[k] for k in rows[0]], [prompts[k] for k in rows[0]], training))
        return float(_call(entry, mine, [reference[k] for k in rows[1]], (), training))

    low, high = by_halves(of_rows, (len(pieces), len(reference)), value)
    return {"low": low, "high": high}


def _plain(value: Any) -> bool:
    """Whether a value can stand in a JSON file as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)
