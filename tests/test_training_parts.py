"""Parts of training by themselves: when a run is over, which engine trains, what is left where writing fails."""

import errno
import importlib.util
import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import HubError
from core.log import logger
from datatools import ngram
from hparams.base import HParams
from supervisors.language_model import LanguageModelSupervisor
from supervisors.training import engine as engines
from supervisors.training.engine import build_engine
from tests.test_storage import Toy, quick, toy

__all__ = ["quick"]  # a fixture that holds for this module as well


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO)
    return caplog


@pytest.mark.parametrize(
    ("evaluated", "step", "patience", "stale", "over"),
    [
        (True, 6, 0, 0, True),
        (True, 7, 0, 0, True),
        (True, 5, 0, 9, False),
        (True, 4, 2, 2, True),
        (True, 4, 2, 1, False),
        (False, 6, 2, 2, False),
    ],
)
def test_a_run_is_over_at_its_last_step_or_out_of_patience_and_once_evaluated(
    evaluated: bool, step: int, patience: int, stale: int, over: bool, tmp_path: Path
) -> None:
    run = toy(tmp_path)
    run.step, run.stale, run.hparams.train.patience = step, stale, patience
    if evaluated:
        run.folder.evaluation.parent.mkdir(parents=True, exist_ok=True)
        run.folder.evaluation.write_text("{}")
    assert run.finished() is over


class Concluded(Toy):
    def evaluate(self) -> dict[str, Any]:
        return {"steps": self.step, "made": "anew"}

    def generate(self, out: Path | None = None) -> list[Path]:
        (self.folder.samples / "step_000006").mkdir(parents=True, exist_ok=True)
        (self.folder.samples / "step_000006" / "1.mid").touch()
        return []


@pytest.mark.parametrize(
    ("found", "sampled", "made", "warns"),
    [
        ('{"steps": 6, "made": "before"}', True, "before", False),
        ('{"steps": 6, "made": "before"}', False, "anew", False),
        ('{"steps": 4, "made": "before"}', True, "anew", False),
        ('{"steps": 6, "made', True, "anew", True),
        ('{"made": "before"}', True, "anew", True),
        ("[6]", True, "anew", True),
        (None, True, "anew", False),
    ],
)
def test_what_an_earlier_call_found_is_read_if_it_is_whole_and_of_this_step(
    found: str | None, sampled: bool, made: str, warns: bool, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    plain = toy(tmp_path)
    run = Concluded(plain.hparams, plain.manager, tmp_path)
    run.step = 6
    if found is not None:
        run.folder.evaluation.parent.mkdir(parents=True, exist_ok=True)
        run.folder.evaluation.write_text(found)
    if sampled:
        run.generate()
    assert run.conclude()["made"] == made
    assert any("is damaged; evaluating again" in line for line in told.messages) == warns
    assert (run.folder.samples / "step_000006" / "1.mid").exists()


def test_a_checkpoint_that_cannot_be_written_goes_and_the_one_before_is_named(tmp_path: Path) -> None:
    run = toy(tmp_path)
    run.steps = run.hparams.train.steps = 2
    run.train()
    run.step = 4

    def full(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    run.save_state = full  # type: ignore[method-assign]
    target = run.folder.checkpoint(4)
    words = f"cannot write {target}: Transport endpoint is not connected (step_000002 stands)"
    with pytest.raises(HubError, match=f"^{re.escape(words)}$"):
        run.save()
    assert [path.name for path in run.folder.checkpoint(2).parent.iterdir()] == ["step_000002"]


@pytest.mark.parametrize(
    ("engine", "present", "world", "settings", "built", "message"),
    [
        ("auto", True, 1, {}, "DeepSpeedEngine", ""),
        ("auto", True, 2, {}, "DeepSpeedEngine", ""),
        ("deepspeed", True, 1, {"a": {"b": 1}}, "DeepSpeedEngine", ""),
        ("torch", True, 1, {}, "TorchEngine", ""),
        ("auto", False, 1, {}, "TorchEngine", "DeepSpeed is not installed"),
        ("torch", False, 1, {"a": {}}, "TorchEngine", ""),
        ("torch", True, 1, {"zero_optimization": {"stage": 1}}, "TorchEngine", "zero_optimization is left aside"),
        ("deepspeed", False, 1, {}, "", "not installed; pip install deepspeed or train.engine=torch"),
        ("torch", True, 2, {}, "", "runs one process, not 2"),
        ("auto", False, 2, {}, "", "runs one process, not 2"),
        ("torch", True, 1, {"z": {"b": 1}, "a": {"b": 1}}, "", "deepspeed.a, deepspeed.z is set but"),
    ],
)
def test_the_engine_is_the_one_asked_for_or_there_is_a_reason(
    engine: str,
    present: bool,
    world: int,
    settings: dict[str, Any],
    built: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    told: pytest.LogCaptureFixture,
) -> None:
    for name in ("TorchEngine", "DeepSpeedEngine"):
        monkeypatch.setattr(engines, name, lambda *_, name=name: name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if present else None)
    hparams = HParams(name="toy", deepspeed=settings)
    hparams.train.engine = engine  # type: ignore[assignment]
    ranks: Any = SimpleNamespace(world=world)
    if not built:
        with pytest.raises(HubError, match=message):
            build_engine(SimpleNamespace(), [], hparams, ranks)  # type: ignore[arg-type]
        return
    assert build_engine(SimpleNamespace(), [], hparams, ranks) == built  # type: ignore[arg-type]
    assert len(told.messages) == bool(message) and message in "".join(told.messages)


@pytest.mark.parametrize(("first", "kept"), [(True, {"valid": 1.5}), (False, None)])
def test_baselines_are_computed_once_and_written_by_the_first_process(
    first: bool, kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SimpleNamespace(folder=tmp_path)
    asked = SimpleNamespace(store=store, tokenizer="a tokenizer", ranks=SimpleNamespace(first=first))
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(ngram, "baselines", lambda *given: calls.append(given) or {"valid": 1.5})
    for _ in range(2):
        assert LanguageModelSupervisor._baselines(asked) == {"valid": 1.5}  # type: ignore[arg-type]
    assert calls == [(store, "a tokenizer")] * (1 if first else 2)
    path = tmp_path / "baselines.json"
    assert (json.loads(path.read_text()) if path.exists() else None) == kept
