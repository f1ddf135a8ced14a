"""Parts of training by themselves: when a run is over, which engine trains, what is left where writing fails."""

import errno
import hashlib
import importlib.util
import json
import logging
import math
import os
import platform
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import HubError
from core.log import logger
from core.model.optim import parameter_groups
from datatools import ngram
from hparams.backbones.gru import GruHParams
from hparams.backbones.lstm import LstmHParams
from hparams.base import HParams
from hparams.supervisors import MusicVaeHParams, PartHParams
from plugins.manager import load_manager, own_version
from supervisors import language_model
from supervisors.artefacts import artefact, described
from supervisors.evaluation import results
from supervisors.evaluation.scoring import PieceScore
from supervisors.language_model import LanguageModelSupervisor
from supervisors.music_vae import supervisor as vae
from supervisors.training import engine as engines
from supervisors.training import environment, precision, token_supervisor
from supervisors.training.data import token_data
from supervisors.training.data.feed import Feed
from supervisors.training.engine import build_engine
from supervisors.training.process_group import Several
from supervisors.training.ranks import Ranks
from tests.toy import Loss, Toy, quick, toy
from tests.toy_tokenizer import ToyTokenizer

__all__ = ["quick"]  # a fixture that holds for this module as well

REALLY = environment.write  # which toys leave away


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


@pytest.mark.parametrize("early", [True, False])
def test_a_checkpoint_that_cannot_be_written_goes_and_the_one_before_is_named(early: bool, tmp_path: Path) -> None:
    run = toy(tmp_path)
    run.build_model()
    run.step = 2
    run.save()
    run.step = 4

    def fail() -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def full(folder: Path) -> None:
        (folder / "half").write_text("of it")
        fail()

    if early:  # before anything of it is there
        run.logbook = SimpleNamespace(sync=fail)  # type: ignore[assignment]
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
    store: Any = SimpleNamespace(folder=tmp_path)
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(ngram, "baselines", lambda *given: calls.append(given) or {"valid": 1.5})
    for _ in range(2):
        assert results.baselines(store, "a tokenizer", keep=first) == {"valid": 1.5}  # type: ignore[arg-type]
    assert calls == [(store, "a tokenizer")] * (1 if first else 2)
    path = tmp_path / "baselines.json"
    assert (json.loads(path.read_text()) if path.exists() else None) == kept


def test_no_gradient_has_no_norm_yet() -> None:
    module = Loss()
    hparams = HParams(name="toy")
    hparams.train.accumulate, hparams.train.clip = 2, 0.0
    engine = engines.TorchEngine(module, parameter_groups(module.model, 0.0), hparams)
    assert engine.gradient_norm() == 0.0
    ids = torch.arange(10).view(2, 5)
    for micro in range(2):
        engine.backward(engine({"ids": ids}))
        total = sum(float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None)
        engine.step()
        assert engine.gradient_norm() == (pytest.approx(total**0.5) if micro else 0.0)  # after both halves


@pytest.mark.parametrize(
    ("stage", "boundary", "norm"), [(0, True, 5.0), (2, True, 7.0), (0, False, None), (2, False, None)]
)
def test_deepspeed_gets_the_loss_and_its_norm_is_taken_when_gradients_are_whole(
    stage: int, boundary: bool, norm: float | None
) -> None:
    told: list[Any] = []
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])

    def step() -> None:  # which drops the gradients that stage 0 measures
        told.append("step")
        parameter.grad = None

    engine = object.__new__(engines.DeepSpeedEngine)
    engine.engine = SimpleNamespace(
        backward=told.append,
        step=step,
        is_gradient_accumulation_boundary=lambda: boundary,
        get_global_grad_norm=lambda: 7.0,
    )
    engine.model, engine.stage, engine._norm = SimpleNamespace(parameters=lambda: [parameter]), stage, math.nan
    engine.backward("a loss")  # type: ignore[arg-type]
    engine.step()
    assert told == ["a loss", "step"]
    assert math.isnan(engine.gradient_norm()) if norm is None else engine.gradient_norm() == norm


@pytest.mark.parametrize(("notes", "per_note"), [((3, 9, 5), 1.5), ((0, 0, 5), 18.0)])
def test_a_validation_tells_nats_by_token_and_by_note(notes: tuple[int, ...], per_note: float) -> None:
    scores = [PieceScore(k, nats, tokens, [], []) for k, nats, tokens in ((0, 6.0, 4), (1, 12.0, 8))]
    asked: list[Any] = []
    infos = [SimpleNamespace(notes=count) for count in notes]
    run: Any = SimpleNamespace(
        store=SimpleNamespace(pieces=lambda split: infos),
        measure=lambda *given: asked.append(given) or scores,
        hparams=HParams(name="toy"),
        beside=None,
    )
    found = LanguageModelSupervisor.validate(run)
    assert found == {"valid_loss": 1.5, "valid_nats_per_note": per_note}
    assert asked == [("valid", run.hparams.evaluate.tokens)]
    run.beside = "vectors"
    assert LanguageModelSupervisor.validate(run) == {**found, "valid_loss_given_controls": 1.5}
    assert asked[1:] == [("valid", run.hparams.evaluate.tokens), ("valid", run.hparams.evaluate.tokens, "vectors")]


def test_trackers_see_and_hear_a_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[Any] = []
    tracker = SimpleNamespace(
        picture=lambda *given: told.append(("picture", *given)),
        sound=lambda *given: told.append(("sound", *given)),
        close=lambda: told.append("closed"),
    )
    monkeypatch.setattr(language_model, "opened", lambda hparams, folder, step: [tracker])
    monkeypatch.setattr(language_model.sound, "render", lambda score, told: np.arange(8.0).reshape(4, 2))
    monkeypatch.setattr(language_model.sound, "RATE", 2 * language_model.HEARD)
    monkeypatch.setattr(language_model.pianoroll, "image", lambda score: f"{score} drawn")
    run: Any = SimpleNamespace(hparams=None, folder=SimpleNamespace(path=tmp_path))
    LanguageModelSupervisor._show(run, 7, "a score")  # type: ignore[arg-type]
    assert told[0] == ("picture", 7, "sample", "a score drawn") and told[2] == "closed"
    assert told[1][:3] == ("sound", 7, "sample_sound") and told[1][4] == 22_050
    assert told[1][3].tolist() == [0.5, 4.5]  # both channels' mean, every second sample


@pytest.mark.parametrize("first", [True, False])
def test_an_evaluation_scores_each_split_beside_its_baselines(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    store = SimpleNamespace(pieces=lambda split: f"infos of {split}")
    monkeypatch.setattr(results, "baselines", lambda *given, keep: told.append((*given, keep)) or {"v": 1, "t": 2})
    monkeypatch.setattr(results, "splits_of", lambda store: ["v", "t"])
    monkeypatch.setattr(results, "write", lambda *given: told.append(given) or {"written": True})
    monkeypatch.setattr(language_model, "totals", lambda pieces, infos: {"of": (pieces, infos)})
    monkeypatch.setattr(language_model, "records", lambda split, pieces, infos: [(split, pieces, infos)])
    run: Any = SimpleNamespace(
        load_best=lambda: told.append("best"),
        store=store,
        tokenizer="a tokenizer",
        ranks=SimpleNamespace(first=first),
        facts=lambda: {"steps": 4},
        measure=lambda split: f"scores of {split}",
        folder="a folder",
    )
    found = LanguageModelSupervisor.evaluate(run)
    both = {s: ("scores of " + s, "infos of " + s) for s in "vt"}
    whole = {"steps": 4, "v": {"of": both["v"], "baselines": 1}, "t": {"of": both["t"], "baselines": 2}}
    assert told[:2] == ["best", (store, "a tokenizer", first)]
    assert told[2:] == ([("a folder", whole, [("v", *both["v"]), ("t", *both["t"])])] if first else [])
    assert found == ({"written": True} if first else whole)


@pytest.mark.parametrize(
    ("per_epoch", "steps", "why"),
    [
        (1.0, 200, "the fewest that a run takes by itself; 20 epochs of 1.0 steps would be less"),
        (50.26, 1005, "20 epochs of 50.3 steps"),
        (500.0, 2000, "the most that a run takes by itself; 20 epochs of 500.0 steps would be more"),
    ],
)
def test_a_run_that_leaves_its_steps_to_the_data_takes_twenty_epochs(per_epoch: float, steps: int, why: str) -> None:
    batches: Any = SimpleNamespace(steps_per_epoch=per_epoch)
    assert (token_supervisor.default_steps(batches), token_supervisor.why_steps(batches)) == (steps, why)


def test_intervals_of_a_run(tmp_path: Path) -> None:
    run = toy(tmp_path)
    for steps, every, interval in ((5, 0, 5), (100, 0, 10), (1000, 0, 50), (1000, 7, 7)):
        run.steps, run.hparams.evaluate.every = steps, every
        assert run.validation_interval() == interval
    run.steps = 10
    due = [step for step in range(1, 11) if not setattr(run, "step", step) and run.due(4)]  # type: ignore[func-returns-value]
    assert due == [4, 8, 10]
    run.best, run.stale, run.hparams.train.patience = {}, 0, 2
    saved: list[int] = []
    run.save_model = lambda: saved.append(run.step)  # type: ignore[method-assign]
    for step, loss in enumerate((3.0, 2.0, 2.0, 1.5, 1.6, 1.5), 1):  # as good is not better
        run.step = step
        run.take({"valid_loss": loss})
        assert run.stopped_early() is (step == 6)
    assert saved == [1, 2, 4] and run.best == {"valid_loss": 1.5, "step": 4} and run.stale == 2


def test_a_step_is_summed_over_parts_and_processes_and_each_part_drops_out_in_its_own_way() -> None:
    """Two micro-batches of two processes; the other one of these has 30 nats more, and all count 8 targets."""
    told: list[Any] = []

    def engine(batch: dict[str, Any]) -> torch.Tensor:
        told.append(torch.initial_seed())
        return batch["ids"].sum()

    found: Any = engine
    found.set_rate = lambda rate: told.append(("rate", rate))
    found.backward = lambda loss: told.append(float(loss))
    found.step = lambda: told.append("step")
    found.rate, found.gradient_norm = (lambda: 0.25), (lambda: 4.0)
    hparams = HParams(name="x", seed=9)
    hparams.train.accumulate, hparams.train.lr, hparams.train.warmup = 2, 0.5, 0.5
    ranks = SimpleNamespace(rank=1, world=2, device=torch.device("cpu"), sum=lambda total: total + 30)
    batches = SimpleNamespace(
        counted=lambda step: 8, batch=lambda *given: told.append(given) or {"ids": torch.tensor([3.0, 2.0 + given[1]])}
    )
    model = nn.Dropout().eval()
    feed = Feed(batches, ranks)  # type: ignore[arg-type]
    run: Any = SimpleNamespace(
        hparams=hparams, ranks=ranks, engine=engine, batches=batches, feed=feed, model=model, steps=40
    )
    values = token_supervisor.TokenSupervisor.train_step(run, 6)
    # 5 and 6 nats here, 41 in all; an engine takes the mean over four parts, which makes up for times four.
    assert values == {"loss": 41 / 8, "lr": 0.25, "grad_norm": 4.0, "tokens": 8} and model.training

    def seed(micro: int) -> int:
        digest = hashlib.blake2b(f"9\x1fdropout\x1f6\x1f{micro}\x1f1".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    assert told == [
        ("rate", pytest.approx(0.5 * 7 / 20)),
        *((6, 0, 1, 2), seed(0), 5 * 4 / 8, "step"),
        *((6, 1, 1, 2), seed(1), 6 * 4 / 8, "step"),
    ]


def test_batches_are_made_ahead_once_each() -> None:
    """As a GPU has it: the next one is there before it is asked for, and one that nobody asked for is dropped."""
    made: list[tuple[int, ...]] = []
    batches: Any = SimpleNamespace(batch=lambda *given: made.append(given) or {"ids": torch.tensor(given)})
    ranks: Any = SimpleNamespace(rank=1, world=2, device=torch.device("cpu"))
    feed = Feed(batches, ranks, ahead=True)
    for step, micro, after in ((0, 0, (0, 1)), (0, 1, (1, 0)), (1, 0, (1, 1)), (3, 0, (3, 1))):
        assert feed.batch(step, micro)["ids"].tolist() == [step, micro, 1, 2]
        feed.make(*after)
        assert made[-1][:2] == after
    assert [each[:2] for each in made] == [(0, 0), (0, 1), (1, 0), (1, 1), (3, 0), (3, 1)]
    slow = Feed(batches, ranks)
    slow.make(5, 0)
    assert made[-1][:2] == (3, 1)  # a CPU has nothing else to do meanwhile


def test_the_next_part_is_made_before_a_step_is_read() -> None:
    asked: list[tuple[int, int]] = []
    hparams = HParams(name="x")
    hparams.train.accumulate = 3
    engine: Any = lambda batch: batch["ids"].sum()  # noqa: E731
    for name in ("set_rate", "backward", "step", "rate", "gradient_norm"):
        setattr(engine, name, lambda *_: 0.0)
    feed = SimpleNamespace(batch=lambda *_: {"ids": torch.ones(2)}, make=lambda *given: asked.append(given))
    ranks = SimpleNamespace(rank=0, world=1, device=torch.device("cpu"), sum=lambda total: total)
    batches = SimpleNamespace(counted=lambda step: 6)
    run: Any = SimpleNamespace(
        hparams=hparams, ranks=ranks, engine=engine, batches=batches, feed=feed, model=nn.Identity(), steps=6
    )
    token_supervisor.TokenSupervisor.train_step(run, 4)
    assert asked == [(4, 1), (4, 2), (5, 0)]
    token_supervisor.TokenSupervisor.train_step(run, 5)
    assert len(asked) == 3  # nothing is made for a step behind the last


def test_activation_checkpointing_needs_a_backbone_that_offers_it() -> None:
    with pytest.raises(HubError, match=r"train.activation_checkpointing is true, and foo offers none .* drop it"):
        token_supervisor.keep_inputs_only(nn.Linear(2, 2), "foo")


def test_training_rows_are_those_that_the_settings_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_supervisor, "Batches", lambda *given, **named: (given, named))
    monkeypatch.setattr(vae, "Windows", lambda *given, **named: (given, named))
    hparams = HParams(name="x", seed=9, supervisor=MusicVaeHParams(bars=3, latent=5))
    hparams.data.length, hparams.data.batch_size, hparams.train.accumulate = 77, 12, 4
    tokenizer = SimpleNamespace(bos_id=7, eos_id=8, pad_id=9, bar_tokens=16)
    run: Any = SimpleNamespace(
        hparams=hparams, store="a store", tokenizer=tokenizer, beside="vectors", own=hparams.supervisor
    )
    rows = {"batch_size": 12, "seed": 9, "accumulate": 4, "augment": hparams.data.augment}
    assert token_supervisor.TokenSupervisor.build_batches(run, True) == (
        ("a store", "train"),
        {"bos_id": 7, "eos_id": 8, "pad_id": 9, "length": 77, "packs": True, "tokenizer": tokenizer,
         "beside": "vectors", **rows},
    )  # fmt: skip
    assert vae.MusicVaeSupervisor.build_batches(run, False) == (
        ("a store", tokenizer), {"bars": 3, "bar_tokens": 16, "latent": 5, **rows}
    )  # fmt: skip
    hparams.backbone = LstmHParams(dim=64, layers=3, dropout=0.5)
    run.manager = SimpleNamespace(
        section=lambda slot, name: GruHParams(dim=8, layers=2), make=lambda slot, section: section
    )
    for part, made in (
        (PartHParams(), LstmHParams(dim=64, layers=3, dropout=0.5)),
        (PartHParams(dim=32, layers=1), LstmHParams(dim=32, layers=1, dropout=0.5)),
        (PartHParams(backbone="gru"), GruHParams(dim=64, layers=2)),
    ):
        assert vae.MusicVaeSupervisor._part(run, hparams, part, "encoder") == made


def test_what_is_beside_the_tokens_reaches_the_scores_and_the_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[Any] = []

    def whole(store: Any, split: str, **given: Any) -> str:
        told.append((store, split, given))
        return "batches"

    monkeypatch.setattr(language_model, "whole", whole)
    monkeypatch.setattr(language_model, "token_kinds", lambda tokenizer: "kinds")
    monkeypatch.setattr(language_model, "score_pieces", lambda *given, reach: (*given, reach))
    monkeypatch.setattr(language_model, "asked_of", lambda manager, hparams: "what is asked")
    monkeypatch.setattr(language_model, "write_samples", lambda *given: told.append(given) or [tmp_path / "0.mid"])
    monkeypatch.setattr(language_model.scores, "read", lambda path: SimpleNamespace(score=path))
    tokenizer = SimpleNamespace(bos_id=7, eos_id=8, pad_id=9)
    shown: list[Any] = []
    run: Any = SimpleNamespace(
        store="a store", tokenizer=tokenizer, whole_model=lambda: "a model", autocast=lambda: "a format",
        manager=None, hparams="settings", load_best=lambda: "the best", ranks=SimpleNamespace(first=True),
        best={"step": 40.0}, folder=SimpleNamespace(samples=tmp_path), _show=lambda *given: shown.append(given),
        reach=lambda model: f"the reach of {model}",
    )  # fmt: skip
    scored = LanguageModelSupervisor.measure(run, "test", 99, "vectors")  # type: ignore[arg-type]
    ids = {"bos_id": 7, "eos_id": 8, "pad_id": 9}
    assert scored == ("a model", "batches", "kinds", "a format", "the reach of a model")  # type: ignore[comparison-overlap]
    assert told == [("a store", "test", {**ids, "limit_tokens": 99, "beside": "vectors"})]
    LanguageModelSupervisor.generate(run)
    LanguageModelSupervisor.generate(run, tmp_path / "out")
    places = [tmp_path / "step_000040", tmp_path / "out"]
    assert told[1:] == [("the best", tokenizer, "settings", place, "what is asked") for place in places]
    assert shown == [(40, tmp_path / "0.mid")], "trackers hear what a run itself leaves"
    run.ranks.first = False
    assert LanguageModelSupervisor.generate(run) == [] and len(told) == 3


def test_environment_tells_what_a_run_ran_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = load_manager()
    monkeypatch.setattr(environment, "LIBRARIES", ("torch", "no-such-library"))
    REALLY(tmp_path / "e.json", manager, manager.preset("tiny"), Several(1, 3))
    told = json.loads((tmp_path / "e.json").read_text())
    assert told["libraries"] == {"torch": torch.__version__.partition("+")[0], "no-such-library": None} or (
        told["libraries"] == {"torch": torch.__version__, "no-such-library": None}
    )
    assert (told["python"], told["system"]) == (platform.python_version(), platform.platform())
    assert (told["ranks"], told["threads"], told["processors"]) == (3, torch.get_num_threads(), os.cpu_count())
    version = own_version()
    parts = {"supervisor": "language_model", "backbone": "mamba", "tokenizer": "remi", "dataset": "bach_chorales"}
    assert told["swaptunes"] == version and told["plugins"] == {
        slot: {"name": name, "distribution": "swaptunes", "version": version} for slot, name in parts.items()
    }


def test_a_model_s_folder_says_all_that_reading_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, tokenizer, place = load_manager(), ToyTokenizer(), tmp_path / "run" / "model"
    monkeypatch.setattr(described, "build_tokenizer", lambda manager, hparams, folder: ToyTokenizer(folder))
    facts = {"best": {"step": 4}, "parameters": 9, "data_license": "CC0", "data_url": ""}
    with pytest.raises(HubError, match="run is neither a run nor an artefact"):
        described.settings(tmp_path / "run", manager)
    weights = {"w": torch.arange(3.0)}
    artefact.write(place, weights, tokenizer, manager.preset("tiny"), manager, facts)  # type: ignore[arg-type]
    config = json.loads((place / "config.json").read_text())
    told = {key: config[key] for key in ("format", "vocab_size", "tokenizer_fingerprint", "sha256", "best")}
    digest = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    assert told == {
        "format": 1, "vocab_size": 132, "tokenizer_fingerprint": "toy 0", "sha256": digest, "best": {"step": 4}
    }  # fmt: skip
    assert config["hparams"]["data"]["length"] == 64 and config["plugins"]["backbone"]["name"] == "mamba"
    found = artefact.read(tmp_path / "run", manager)
    assert found.folder == place and found.weights["w"].tolist() == [0, 1, 2] and found.hparams.name == "tiny"

    def refused(**changes: Any) -> str:
        (place / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(HubError) as said:
            artefact.read(tmp_path / "run", manager)
        return str(said.value)

    assert "has format 2, newer than 1; update swaptunes" in refused(format=2)
    assert "is not the tokenizer that" in refused(tokenizer_fingerprint="toy 1")
    assert "was changed since it was written" in refused(sha256="0")
    foreign = {key: value for key, value in config.items() if key != "hparams"} | {"model_type": "llama"}
    (place / "config.json").write_text(json.dumps(foreign))
    with pytest.raises(HubError, match=r"holds another library's checkpoint; train from it first, with model\.start="):
        described.settings(tmp_path / "run", manager)
    (place / "model.safetensors").unlink()
    assert "has no model.safetensors; copy the folder again" in refused()
    shutil.rmtree(place)
    (tmp_path / "run" / "hparams.yaml").touch()
    with pytest.raises(HubError, match="run has no trained model yet; train it first: --run "):
        described.settings(tmp_path / "run", manager)


def test_a_best_model_bears_its_data_s_licence_and_what_is_known_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(artefact, "write", lambda *given: told.append(given))
    dataset = {"license": "CC0", "url": "https://d"}
    counts = {"train": {"pieces": 1200, "notes_told": 5}, "test": {"pieces": 1}}
    manifest: dict[str, Any] = {"dataset": dataset, "counts": counts, "failures": 1, "left_out": 2}
    manifest |= {"near_duplicates": 4, "near_across_splits": 2}
    ranks = Ranks()
    run: Any = SimpleNamespace(
        weights=lambda: "weights", ranks=ranks, best={"step": 4}, parameters=9, hparams=HParams(name="x"), manager="m",
        store=SimpleNamespace(
            manifest=manifest, failures_path=tmp_path / "f.txt", folder=tmp_path,
            pieces=lambda split: [SimpleNamespace(sha256="a", index=k // 2) for k in range(3 * (split == "train"))],
        ),
        tokenizer="t",
        identity=lambda: {"data": "print"}, folder=SimpleNamespace(model=tmp_path / "model"),
    )  # fmt: skip
    run.folder.evaluation = tmp_path / "evaluation.json"
    token_supervisor.TokenSupervisor.save_model(run)
    facts = {"best": {"step": 4}, "parameters": 9, "data_license": "CC0", "data_url": "https://d"}
    facts["data_fingerprint"] = "print"
    assert told == [(tmp_path / "model", "weights", "t", run.hparams, "m", facts)]
    monkeypatch.setattr(token_data, "advice", lambda manifest, tokenizer: ["lost a bit"])
    monkeypatch.setattr(token_data, "suggestions", lambda store, tokens: [f"{tokens} a step"])
    run.hparams.data.length, run.hparams.data.batch_size = 64, 4
    assert token_supervisor.TokenSupervisor.prepared(run).splitlines() == [
        "train  1,200 pieces, 5 notes told", "test   1 piece",
        "copies       1 file is an exact copy of another: kept, on the same side of the split as what is copied",
        "alike        3 near-duplicates: kept, on the same side of the split as what sounds alike, "
        "but 2 of them as published",
        f"left out     2 near-duplicates, like pieces of two sides, left out: {tmp_path / 'left_out.jsonl'}",
        f"not used     1 file that could not be read or told: {tmp_path / 'f.txt'}", "lost a bit", "256 a step",
        f"store  {tmp_path}",
    ]  # fmt: skip
    run.store.pieces, manifest["failures"] = lambda split: [], 0
    manifest["near_duplicates"] = manifest["left_out"] = 0
    assert token_supervisor.TokenSupervisor.prepared(run).splitlines()[2:3] == ["lost a bit"], (
        "of nothing nothing is said"
    )
    remembered = token_supervisor.TokenSupervisor._remembered
    assert remembered(run, "w") == {}
    training = {"steps": 8, "tokens_seen": 99, "minutes": 2.5, "weights": "w"}
    run.folder.evaluation.write_text(json.dumps({**training, "test": {}, "headline": 1}))
    assert remembered(run, "w") == training and remembered(run, "others") == {}, "an older model's are not this one's"
    run.folder.evaluation.write_text("[1]")
    assert remembered(run, "w") == {}


def test_weights_that_do_not_fit_are_named() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 3, bias=False), "b": nn.Linear(2, 3, bias=False)})
    good = {f"{name}.weight": torch.full((3, 2), value) for name, value in (("a", 1.0), ("b", 2.0))}
    artefact.load_into(model, good, "x")
    assert model["b"].weight.tolist() == [[2.0, 2.0]] * 3
    for weights, said in (
        ({"a.weight": torch.ones(3, 2)}, "b.weight is missing"),
        ({**good, "c": torch.ones(1), "d": torch.ones(1)}, "c is unknown and 1 more"),
        ({**good, "a.weight": torch.ones(2, 3)}, r"a.weight is \(2, 3\), expected \(3, 2\)"),
    ):
        with pytest.raises(HubError, match=f"the weights of x do not fit this model: {said}$"):
            artefact.load_into(model, weights, "x")
    model["b"].weight = model["a"].weight
    artefact.load_into(model, {"b.weight": torch.full((3, 2), 5.0)}, "x")
    assert model["a"].weight.tolist() == [[5.0, 5.0]] * 3, "of tied weights one name is enough"


def test_the_facts_of_training_are_those_of_its_steps(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    run: Any = SimpleNamespace(
        known=None, best={"step": 4}, parameters=9, step=3, seconds=150.0, dtype=torch.bfloat16,
        batches=SimpleNamespace(counted=lambda step: 10 + step), folder=SimpleNamespace(model=tmp_path),
    )  # fmt: skip
    assert token_supervisor.TokenSupervisor.facts(run) == {
        "best": {"step": 4}, "parameters": 9, "tokens_seen": 33, "steps": 3, "minutes": 2.5, "precision": "bfloat16",
        "weights": hashlib.sha256(b"weights").hexdigest(),
    }  # fmt: skip
    run.known = {"best": {"step": 7}}
    assert token_supervisor.TokenSupervisor.facts(run) == {"best": {"step": 7}}


@pytest.mark.parametrize(
    ("asked", "native", "dtype", "reason"),
    [
        ("fp32", True, torch.float32, "asked for"),
        ("bf16", True, torch.bfloat16, "asked for"),
        ("bf16", False, torch.bfloat16, "asked for, though this CPU only emulates it"),
        ("auto", True, torch.bfloat16, "this CPU multiplies it natively"),
        ("auto", False, torch.float32, "this CPU has no native bf16"),
    ],
)
def test_the_number_format_is_what_the_machine_multiplies(
    asked: str, native: bool, dtype: torch.dtype, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision.choose(asked, torch.device("cpu")) == (dtype, reason)
    with precision.autocast(torch.device("cpu"), dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    with pytest.raises(HubError, match="is not a training precision"):
        precision.autocast(torch.device("cpu"), torch.float16)


def test_the_card_of_a_model_says_what_it_is_made_of() -> None:
    plugin = {"name": "lstm", "distribution": "theirs", "version": "2.1"}
    text = artefact.card(
        {"hparams": {"name": "x"}, "plugins": {"backbone": plugin}, "swaptunes": "0.1", "parameters": 1234567,
         "best": {"valid_loss": 1.23456789, "step": 40}, "data_license": "CC0", "data_url": "https://d"}
    )  # fmt: skip
    assert "# x\n" in text and "with 1,234,567 parameters: backbone lstm (theirs 2.1)." in text
    assert "Trained on: CC0 https://d" in text and "- step: 40\n- valid_loss: 1.23457" in text
