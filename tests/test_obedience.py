"""What is asked of a control and what comes of it: correlations by hand and by SciPy, and models that do not obey."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.model.conditioning import Known
from hparams.base import EvaluateHParams, GenerateHParams, HParams, ModelHParams
from hparams.datasets import FolderHParams
from plugins.controls.density_seconds import DensitySeconds
from supervisors.evaluation import obedience as module
from supervisors.evaluation.obedience import compared, obedience, pearson, spearman
from supervisors.evaluation.page.obedience import in_short
from supervisors.evaluation.page.obedience import obedience as section
from tests.test_controls import PROMPTS, conditioned, drawn
from tests.third_party.register_example.register_plugin import Register, RegisterHParams
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer


def test_correlations_by_hand() -> None:
    """Deviations -1.5 -0.5 0.5 1.5 and -1 0 -1 2: products 4, squares 5 and 6; ranks 1 2 3 4 and 1.5 3 1.5 4."""
    asked, got = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 11.0, 10.0, 13.0])
    assert pearson(asked, got) == pytest.approx(4 / np.sqrt(5 * 6))
    assert spearman(asked, got) == pytest.approx(3 / np.sqrt(5 * 4.5))
    assert spearman(asked, np.exp(asked)) == 1.0 and pearson(asked, np.exp(asked)) < 0.95  # type: ignore[operator]
    assert pearson(asked, -asked) == -1.0 and pearson(asked, np.ones(4)) is None
    assert pearson(asked[:1], got[:1]) is None


def test_correlations_equal_scipy_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    draws = np.random.default_rng(3)
    a, b = draws.integers(0, 6, 50).astype(float), draws.normal(size=50)
    b += a / 3
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b)[0])
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    found = compared(a.tolist(), b.tolist())["pearson"]
    bounds = stats.bootstrap((a, b), lambda *x: stats.pearsonr(*x)[0], paired=True, method="percentile", rng=1)
    assert found["low"] == pytest.approx(bounds.confidence_interval.low, abs=0.03)
    assert found["high"] == pytest.approx(bounds.confidence_interval.high, abs=0.03)


def test_pieces_that_tell_nothing_are_left_out_with_their_number() -> None:
    found = compared([1, 2, 3, 4, 5], [10, None, 10, 13, None])
    assert (found["asked"], found["got"]) == ([1.0, 3.0, 4.0], [10.0, 10.0, 13.0])
    assert (found["n"], found["failures"]) == (3, 2) and found["pearson"]["low"] is None
    assert compared([1, 1], [None, None])["spearman"] == {"value": None, "low": None, "high": None}


class Player:
    """Plays one note of the pitch that it is asked for, or what a fault makes of it."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.asked = fault, []

    def by_model(self, prompts: Any, length: int, what: str, known: Known) -> tuple[list[list[int]], int]:
        self.asked.append((len(prompts), length, what, known.given.tolist()))
        pitches = (known.values[:, 0, 0] * 12 + 60).round().int().tolist()
        if self.fault == "deaf":
            pitches = [60 + 7 * row % 12 for row in range(len(pitches))]
        return [[PITCH + pitch, STEP] for pitch in (pitches[1:] + pitches[:1] if self.fault == "late" else pitches)], 0


def asking(player: Player, control: Any, count: int = 26) -> dict[str, Any]:
    manager: Any = SimpleNamespace(
        make=lambda kind, section: section and control,
        section=lambda kind, name: RegisterHParams(),
    )
    hparams = HParams(
        name="x", backbone=None, tokenizer=None, dataset=FolderHParams(), model=ModelHParams(controls=["register"]),
        evaluate=EvaluateHParams(count=count), generate=GenerateHParams(controls={"register": 99}),
    )  # fmt: skip
    return obedience(manager, hparams, ToyTokenizer(), player, 7)  # type: ignore[arg-type]


def test_each_number_is_asked_for_and_measured_by_the_control_s_own_of() -> None:
    player = Player()
    found = asking(player, Register(RegisterHParams()))["register"]
    assert player.asked == [(26, 7, "ask for register", [[[True]]] * 26)]
    assert found["asked"] == [*range(40, 89, 4)] * 2 and found["got"] == pytest.approx(found["asked"])
    assert found["pearson"]["value"] == pytest.approx(1.0) and found["n"] == 26
    assert found["meaning"] == "the mean pitch, a whole number from 0 to 127, e.g. 64"
    assert asking(player, SimpleNamespace(parse=None)) == {}, "a control of words is asked for nothing"


@pytest.mark.parametrize("fault", ["deaf", "late"])
def test_a_model_that_does_not_do_as_it_is_asked_is_found_out(fault: str) -> None:
    found = asking(Player(fault), Register(RegisterHParams()))["register"]
    assert found["pearson"]["value"] < 0.9 and found["pearson"]["low"] < found["pearson"]["value"]


def test_a_number_is_the_mean_over_tokens_and_a_fault_of_the_plugin_is_a_failure() -> None:
    class Twice(Register):
        def of(self, piece: Any, ids: Any, tokenizer: Any) -> Any:
            if ids[0] % 3 == 0:
                raise RuntimeError("never seen that")
            return np.stack([super().of(piece, ids, tokenizer), self.vector(50)])

    ids = [PITCH + 60, STEP]
    wrong = [PITCH + 60 + (-(PITCH + 60)) % 3, STEP]
    control: Any = Twice(RegisterHParams())
    right = ids if ids[0] % 3 else [PITCH + 61, STEP]
    pitch = right[0] - PITCH
    assert module.told(control, right, ToyTokenizer()) == pytest.approx((pitch + 50) / 2)
    assert module.told(control, wrong, ToyTokenizer()) is None


def test_seconds_are_told_by_the_middle_of_their_class() -> None:
    """4 to 6 notes in two seconds are the second class, its middle 2.5 a second; rows are told one by one."""
    control = DensitySeconds()
    rows = np.stack([control.parse("2"), control.parse("3.4"), control.parse("17")])
    assert control.number(rows).tolist() == [2.5, 2.5, 17.5] and float(control.number(rows[0])) == 2.5
    assert control.numbers == (1.0, 2.5, 4.0, 5.5, 7.0, 8.5, 10.0, 11.5, 13.0, 14.5, 16.0, 17.5)


def test_each_piece_is_asked_its_own() -> None:
    """As if each were drawn by itself, in batches of any size and under guidance."""
    model = conditioned([2])
    with torch.no_grad():
        model.embedding.weight.mul_(40)
        model.conditioning.maps[0].weight.mul_(60)
    values = torch.randn(len(PROMPTS), 1, 2, generator=torch.Generator().manual_seed(1))
    known = Known(values, torch.ones(len(PROMPTS), 1, 1, dtype=torch.bool))
    for guidance in (1.0, 2.5):
        alone = [
            drawn(model, [prompt], Known(value[None], known.given[:1]), guidance, first_row=row)[0]
            for row, (prompt, value) in enumerate(zip(PROMPTS, values, strict=True))
        ]
        assert drawn(model, PROMPTS, known, guidance) == alone
        assert drawn(model, PROMPTS, known, guidance, max_batch=2) == alone


def test_the_page_says_what_was_asked_and_what_came() -> None:
    one = compared([1, 3, 1, 3], [10, 12, 14, None]) | {"meaning": "notes a second"}
    one["pearson"] = {"value": 0.5, "low": 0.25, "high": 0.75}
    text = "\n\n".join(section({"density": one}, {"tokens": 1234}))
    assert section({}, {"tokens": 1}) == []
    assert "| asked | 1.000 | 3.000 |\n| --- | ---: | ---: |\n| got, mean | 12.00 | 12.00 |" in text
    assert "| got, deviation | 2.000 | 0 |\n| pieces | 2 | 1 |" in text and "at most 1,234 tokens" in text
    said = "Pearson 0.500 [0.250, 0.750], Spearman 0 between asked and got (n = 3 pieces, 1 failed)"
    assert f"{said}." in text and in_short({"density": one}) == [f"density: {said}"]
    silent = compared([1], [None]) | {"meaning": "m"}
    assert in_short({"d": silent}) == ["d: Pearson -, Spearman - between asked and got (n = 0 pieces, 1 failed)"]
