"""What every metric owes: finite figures on nothing, no dependence on order, counts, and plain numbers."""

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import symusic

from core.errors import HubError
from plugins.metrics.parts.notes import split_at
from tests.made_scores import score, tunes

MODULES = (
    "pitch",
    "rhythm",
    "polyphony",
    "overlap_area",
    "frechet",
    "pitch_class_distance",
    "note_duration_distance",
    "harmonic_distance",
    "decodability",
    "repetition",
    "originality",
    "roll_surprise",
)


def registered() -> dict[str, Callable[..., dict[str, Any]]]:
    found: dict[str, Callable[..., dict[str, Any]]] = {}

    def register(
        name: str, function: Callable[..., Any], *, unit: str, higher_is_better: bool | None, **shown: Any
    ) -> None:
        assert name not in found and unit and higher_is_better in (True, False, None)
        found[name] = function

    for module in MODULES:
        import_module(f"plugins.metrics.{module}").register_metrics(register)
    return found


METRICS = registered()
TRAINING, REFERENCE, GENERATED = tunes(6), tunes(6, 100), tunes(5, 200)


def call(name: str, generated: list[Any], reference: list[Any], prompts: list[Any] | None = None) -> dict[str, Any]:
    function = METRICS[name]
    asked = inspect.signature(function).parameters
    given = {"training": TRAINING, "prompts": prompts}
    return function(generated, reference, **{key: value for key, value in given.items() if key in asked})


def numbers(thing: Any) -> Iterator[float]:
    if isinstance(thing, dict):
        for value in thing.values():
            yield from numbers(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from numbers(value)
    elif isinstance(thing, int | float):
        yield thing


@pytest.mark.parametrize("name", METRICS)
def test_a_result_tells_value_interval_count_and_failures(name: str) -> None:
    result = call(name, [*tunes(8, 200), None], tunes(8, 100))
    assert result["low"] <= result["value"] <= result["high"]
    counted = result["n"] + result["failures"]
    assert counted == 9 if name not in ("overlap_area", "kl_divergence", "kl_divergence_common") else counted <= 9
    assert result["failures"] == (0 if name == "decodability" else 1)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("name", ["overlap_area", "frechet_distance", "similarity_error", "pitch_class_distance"])
def test_few_pieces_have_no_interval_where_sets_are_compared(name: str) -> None:
    for generated, reference in ((tunes(7, 200), tunes(9, 100)), (tunes(9, 200), tunes(7, 100))):
        result = call(name, generated, reference)
        assert result["low"] is None and result["high"] is None and result["value"] >= 0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("reference", [[], [symusic.Score(480)], REFERENCE[:3]], ids=["none", "empty", "music"])
@pytest.mark.parametrize("generated", [[], [symusic.Score(480)], [None]], ids=["none", "empty", "undecoded"])
def test_nothing_gives_finite_figures(name: str, generated: list[Any], reference: list[Any]) -> None:
    result = call(name, generated, reference)
    assert all(math.isfinite(number) for number in numbers(result))
    json.dumps(result, allow_nan=False)
    if name not in ("decodability", "empty_share"):
        assert (result["n"], result["failures"]) == (0, len(generated))


@pytest.mark.parametrize("name", METRICS)
def test_one_note_gives_finite_figures(name: str) -> None:
    single = [score([(0, 1, 60)])]
    assert all(math.isfinite(number) for number in numbers(call(name, single * 2, single * 3)))
    assert all(math.isfinite(number) for number in numbers(call(name, single, REFERENCE)))


@pytest.mark.parametrize("name", METRICS)
def test_the_order_of_pieces_does_not_matter(name: str) -> None:
    one = call(name, GENERATED, REFERENCE)
    other = call(name, GENERATED[::-1], REFERENCE[2:] + REFERENCE[:2])
    for result in (one, other):
        result.pop("pieces", None)
    assert one == other


@pytest.mark.parametrize("name", ["pitch_class_distance", "note_duration_distance", "harmonic_distance"])
def test_prompted_metrics_keep_prompts_with_their_pieces(name: str) -> None:
    prompts, originals = (list(part) for part in zip(*(split_at(piece, 8) for piece in REFERENCE), strict=True))
    generated = [split_at(piece, 8)[1] for piece in tunes(6, 300)]
    one = call(name, generated, originals, prompts)
    other = call(name, generated[::-1], originals[::-1], prompts[::-1])
    assert one == other and one["anchor"] == "prompt"
    assert one["n"] + one["failures"] == 6 and one["n"] > 3
    assert call(name, originals, originals, prompts)["value"] == 0.0
    with pytest.raises(HubError, match="6 prompts, 5 generated"):
        call(name, generated[:5], originals, prompts)


def test_metrics_load_without_heavy_libraries() -> None:
    load = f"import sys, {', '.join(f'plugins.metrics.{name}' for name in MODULES)}\n"
    code = load + "print({'torch', 'scipy', 'matplotlib'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
