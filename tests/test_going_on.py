"""Runs that stop and go on: what a checkpoint holds, which one is taken, and what is said where none can be."""

import json
import logging
import math
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.errors import HubError
from core.log import logger
from hparams.backbones.gru import GruHParams
from hparams.backbones.lstm import LstmHParams
from hparams.base import HParams
from hparams.supervisors import MusicVaeHParams
from supervisors.training import base, logbook, process_group, start, token_supervisor
from supervisors.training.base import Interrupted
from supervisors.training.logbook import Logbook
from supervisors.training.process_group import Several
from supervisors.training.ranks import Ranks
from supervisors.training.runfolder import RunFolder, fault, seal
from tests.toy import Toy, quick, toy

__all__ = ["quick"]  # a fixture that holds for this module as well


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO)
    return caplog


def steps_of(run: Toy) -> list[int]:
    """Of the lines of metrics.jsonl that tell a training step."""
    lines = [json.loads(line) for line in (run.folder.path / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "loss" in line]


def names(run: Toy) -> list[str]:
    return sorted(path.name for path in run.folder.checkpoint(0).parent.iterdir())


def test_a_run_goes_on_from_the_newest_whole_checkpoint(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    whole = toy(tmp_path / "whole")
    whole.steps = 8
    whole.train()
    first = toy(tmp_path / "parts")
    first.train()
    assert names(first) == ["step_000002", "step_000004", "step_000006"] and not first.was_finished
    meta = json.loads((first.folder.checkpoint(6) / "meta.json").read_text())
    assert (meta["step"], meta["steps"], meta["best"], meta["stale"]) == (6, 6, first.best, first.stale)
    assert meta["seconds"] == first.seconds > 0 and meta["data"] == "toy"
    same = toy(tmp_path / "parts")
    same.train()
    assert (same.step, same.best, same.stale, same.seconds) == (6, first.best, first.stale, first.seconds)

    with (first.folder.checkpoint(6) / "engine" / "optimizer.safetensors").open("ab") as file:
        file.write(b"more")
    (first.folder.checkpoint(0).parent / ".step_000009").mkdir()
    told.clear()
    second = toy(tmp_path / "parts")
    second.steps = 8
    second.train()
    place = first.folder.checkpoint(6)
    assert told.messages == [
        f"{place} is damaged (engine/optimizer.safetensors was changed); an older checkpoint is used",
        f"going on from {first.folder.checkpoint(4)}",
        "the schedule of the learning rate is stretched from 6 to 8 steps: a replay from scratch differs",
        f"{place} is damaged and was moved to {place.with_name('damaged_step_000006_1')}",
    ]
    assert names(second) == ["damaged_step_000006_1", "step_000004", "step_000006", "step_000008"]
    assert steps_of(second) == steps_of(whole) == [1, 2, 3, 4, 5, 6, 7, 8]
    mine, theirs = second.engine.state_dict(), whole.engine.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs) and second.best == whole.best

    other = toy(tmp_path / "parts")
    other.identity = lambda: {"data": "else"}  # type: ignore[method-assign]
    other.build_model()
    with pytest.raises(HubError, match=r"step_000008 belongs to another data \(toy, now else\); train under another"):
        other.restore()


def test_checkpoints_have_an_interval_of_their_own_and_saving_is_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock by which a step takes 1 s, a validation 10 s and a checkpoint 100 s."""
    now = [0.0]
    monkeypatch.setattr(base, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic))

    def slow(run: Toy, name: str, seconds: float) -> None:
        plain = getattr(run, name)
        setattr(run, name, lambda *given: (now.__setitem__(0, now[0] + seconds), plain(*given))[1])

    def made(steps: int) -> Toy:
        run = toy(tmp_path)
        run.steps, run.hparams.evaluate.every, run.hparams.checkpoint.every = steps, 2, 3
        for name, seconds in (("train_step", 1.0), ("validate", 10.0), ("save_state", 100.0)):
            slow(run, name, seconds)
        run.train()
        return run

    first = made(6)
    assert names(first) == ["step_000003", "step_000006"] and first.seconds == 6 * 1 + 3 * 10
    lines = [json.loads(line) for line in (first.folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "valid_loss" in line] == [2, 4, 6]
    assert [line["tokens_per_second"] for line in lines if "loss" in line] == [10.0] * 6, "10 tokens in a second"
    assert made(8).seconds == 36 + 2 * 1 + 1 * 10, "over all continuations"


def test_what_is_wrong_with_a_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def sealed(step: int, **meta: Any) -> Path:
        place = folder.checkpoint(step)
        (place / "engine").mkdir(parents=True)
        (place / "engine" / "w").write_bytes(b"12")
        seal(place, {"step": step, **meta})
        return place

    assert folder.newest_intact() is None and fault(sealed(3)) == ""
    assert RunFolder(tmp_path).checkpoint(3).name == "step_000003"
    (sealed(4) / "engine" / "w").unlink()
    sealed(5).rename(folder.checkpoint(6))
    changed = sealed(7) / "meta.json"
    changed.write_text(changed.read_text().replace('"step": 7', '"step": 70'))
    (sealed(8) / "engine" / "w").write_bytes(b"21")
    (sealed(9) / "meta.json").unlink()
    found = {step: fault(folder.checkpoint(step)) for step in (4, 6, 7, 8, 9)}
    assert found == {
        4: "w is missing", 6: "meta.json is of step 5", 7: "meta.json was changed", 8: "engine/w was changed",
        9: "meta.json is missing",
    }  # fmt: skip
    newest = folder.newest_intact()
    assert newest is not None and newest[0] == folder.checkpoint(3) and newest[1]["step"] == 3
    shutil.rmtree(folder.checkpoint(3))
    with pytest.raises(HubError, match=r"no intact checkpoint \(step_000009, step_000008, step_000007, step_000006"):
        folder.newest_intact()
    with pytest.raises(HubError, match="has format 3, newer than 2; update swaptunes"):
        fault(sealed(10, format=3))
    (folder.checkpoint(10) / "meta.json").write_text('{"format": 1}')
    with pytest.raises(HubError, match="has format 1; this version goes on from 2 only"):
        fault(folder.checkpoint(10))
    sealed(1_000_000), sealed(999_999)
    assert [path.name for path in folder.checkpoints()][-2:] == ["step_999999", "step_1000000"]
    folder.drop_old(1)
    assert [path.name for path in folder.checkpoints()] == ["step_1000000"]
    first, second = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "a")
    first.lock()
    with pytest.raises(HubError, match=f"a is in use by process {os.getpid()} on .*; wait for it, or give another"):
        second.lock()
    first.unlock()
    second.lock()
    second.hparams.write_text("name: a")
    (second.path / "kept").touch()
    second.forget()
    assert second.path.is_dir() and second.hparams.exists(), "something was done here"
    (second.path / "kept").unlink()
    second.unlock()
    second.forget()
    assert not second.path.exists()


def test_a_signal_ends_a_run_after_the_step_at_hand(tmp_path: Path) -> None:
    run = toy(tmp_path)
    learn = run.train_step

    def step(number: int) -> dict[str, float]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(number)

    run.train_step = step  # type: ignore[method-assign]
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(Interrupted, match="stopped after step 3") as stopped:
        run.train()
    assert (stopped.value.step, stopped.value.exit_code) == (3, 143)
    assert names(run) == ["step_000002", "step_000003"] and steps_of(run) == [1, 2, 3]
    assert [signal.getsignal(number) for number in numbers] == before and run.logbook is None


@pytest.mark.parametrize(("key", "value"), [("loss", math.nan), ("grad_norm", math.inf)])
def test_a_step_that_is_no_number_is_not_kept(key: str, value: float, tmp_path: Path) -> None:
    run = toy(tmp_path)
    learn = run.train_step
    run.train_step = lambda step: {**learn(step), **({key: value} if step == 4 else {})}  # type: ignore[method-assign]
    with pytest.raises(
        HubError, match=rf"diverged: {key} is {value} at step 5; lower train.lr \(0.002\) .*step_000004"
    ):
        run.train()
    assert names(run) == ["step_000002", "step_000004"] and steps_of(run) == [1, 2, 3, 4]


class Tracker:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def numbers(self, step: int, values: dict[str, float]) -> None:
        self.heard.append((step, values))

    def close(self) -> None:
        self.heard.append("closed")


def test_a_line_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, opened = Tracker(), []
    monkeypatch.setattr(logbook, "opened", lambda *given: opened.append(given) or [tracker])
    hparams: Any = object()
    book = Logbook(hparams, tmp_path, 4, 9, write=True)
    assert opened == [(hparams, tmp_path, 4)]
    book.log(5, {"loss": 1.5, "grad_norm": math.inf})
    book.log(5, {"valid_loss": math.nan})
    assert book._bar is not None and (book._bar.n, book._bar.total) == (5, 9), "one step, however many lines"
    book.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 5, "loss": 1.5, "grad_norm": None}, {"step": 5, "valid_loss": None}]
    assert tracker.heard[0] == (5, {"loss": 1.5, "grad_norm": math.inf}) and tracker.heard[2] == "closed"
    other = Logbook(hparams, tmp_path / "other", 0, 9, write=False)
    other.log(1, {"loss": 1.0})
    other.sync()
    other.close()
    assert not (tmp_path / "other").exists() and len(opened) == 1


def section(**changes: Any) -> HParams:
    made = HParams(name="one", backbone=LstmHParams(dim=64))
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def test_the_settings_that_a_start_wants_are_named(tmp_path: Path) -> None:
    def wants(old: HParams, new: HParams) -> str:
        with pytest.raises(HubError) as said:
            start._check_settings(old, new, tmp_path)
        return str(said.value).partition("; give ")[2]

    start._check_settings(section(), section(name="two", seed=3, backbone=LstmHParams(dim=64, dropout=0.5)), tmp_path)
    smaller = section(backbone=LstmHParams(dim=32, layers=1, dropout=0.3))
    assert wants(section(), smaller) == "backbone.dim=64 backbone.layers=3"
    gru = section(backbone=GruHParams())
    assert wants(section(), gru) == (
        "backbone=lstm backbone.dim=64 backbone.layers=3 backbone.dropout=0.1 backbone.forget_bias=1.0"
    )
    untied = section()
    untied.model.tie = False
    assert wants(untied, section()) == "model.tie=false"
    start._check_settings(section(), untied, tmp_path)
    with pytest.raises(HubError, match="a model of another kind; give supervisor=music_vae"):
        start._check_settings(section(supervisor=MusicVaeHParams()), section(), tmp_path)


def test_one_process_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Ranks()
    assert one.first and not Several(1, 2).first
    assert one.any(True) and not one.any(False) and one.from_first("x") == "x"
    assert one.sum(torch.tensor(2.0)) == 2
    with pytest.raises(KeyError, match="mine"), one.together():
        raise KeyError("mine")


def test_two_processes_agree_by_what_either_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process is played: what it brings to a sum or a vote, and what the first one sends to all."""
    other: list[int] = [0]

    def reduced(value: torch.Tensor, op: Any = process_group.dist.ReduceOp.SUM) -> None:
        both = torch.stack([value, torch.full_like(value, other[0])])
        value.copy_({"MAX": both.amax, "MIN": both.amin, "SUM": both.sum}[str(op).rpartition(".")[2]](0))

    monkeypatch.setattr(process_group.dist, "all_reduce", reduced)
    monkeypatch.setattr(
        process_group.dist, "broadcast_object_list", lambda box, device: box.__setitem__(0, "of the first")
    )
    second = Several(1, 2)
    for theirs, mine, either in ((0, False, False), (0, True, True), (1, False, True), (1, True, True)):
        other[0] = theirs
        assert second.any(mine) is either
    other[0] = 3
    assert float(second.sum(torch.tensor(2.0))) == 5 and second.from_first("mine") == "of the first"
    with pytest.raises(HubError, match="another process of this run could not go on"), second.together():
        pass
    other[0] = 0
    with second.together():
        pass
    with pytest.raises(KeyError, match="mine"), second.together():
        raise KeyError("mine")


def test_data_and_tokenizer_are_known_by_all_that_they_are() -> None:
    def identity(tokens: str, offsets: str, tokenizer: str = "t") -> dict[str, str]:
        files = {"tokens.bin": {"sha256": tokens * 64}, "offsets.npy": {"sha256": offsets * 64}}
        run: Any = SimpleNamespace(
            store=SimpleNamespace(manifest={"files": files}), tokenizer=SimpleNamespace(fingerprint=lambda: tokenizer)
        )
        return token_supervisor.TokenSupervisor.identity(run)

    assert identity("a", "b") == {"data": "a" * 16 + "-" + "b" * 16, "tokenizer": "t"}
    shared = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(3, 3)])
    shared[1].bias = shared[0].bias
    assert token_supervisor.parameter_count(shared) == 6 + 3 + 9
    bare, kept = SimpleNamespace(), SimpleNamespace(backbone=SimpleNamespace(packs=True))
    told = [token_supervisor.packs(model) for model in (bare, kept, SimpleNamespace(packs=False, **vars(kept)))]
    assert told == [False, True, False]
