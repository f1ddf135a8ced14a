"""What a run would be, and where its files go: `dry=true`, folders of samples, what may change when it goes on."""

import argparse
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import HubError
from core.seeds import derive, generator
from hparams.base import HParams
from hparams.loading import override
from plugins.manager import load_manager
from supervisors import plan as planning
from supervisors.api import _words
from supervisors.asking import asked, existing, fresh, insist_same
from supervisors.generating.places import beside, place
from supervisors.training import memory
from supervisors.training.memory import insist_fitting


class Trial:
    """A run of which each step takes as many seconds as are told, on a clock of the test."""

    def __init__(self, steps: int) -> None:
        self.steps, self.made = steps, 0
        self.seconds = iter([100.0, 50.0, 3.0, 1.0, 2.0, 10.0])
        self.now = 0.0
        self.model = nn.ModuleDict({"embedding": nn.Embedding(10, 4), "head": nn.Linear(4, 10, bias=False)})
        self.model["head"].weight = self.model["embedding"].weight
        self.model["backbone"] = nn.Linear(4, 4)

    def load_data(self) -> None:
        pass

    def build_model(self) -> None:
        pass

    def prepared(self) -> str:
        return "prepared"

    def train_step(self, step: int) -> dict[str, float]:
        assert step == self.made
        self.made += 1
        self.now += next(self.seconds)
        return {"tokens": 90.0 + 4 * step}


def test_a_plan_tells_the_median_of_its_warm_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(1200)
    monkeypatch.setattr(planning.time, "perf_counter", lambda: trial.now)
    places: list[Path] = []
    manager: Any = SimpleNamespace(supervise=lambda hparams, folder: places.append(folder) or trial)  # type: ignore[func-returns-value]
    hparams = load_manager().preset("lstm_remi")
    hparams.train.steps = 0
    lines = planning.plan(hparams, tmp_path, manager).splitlines()
    told = {line[:13].strip(): line[13:] for line in lines[lines.index("prepared") + 1 :]}
    assert told["parameters"] == "60 (embedding 40, head 0, backbone 20)"  # shared ones where they come first
    assert told["steps"] == "1,200 (train.steps=0: chosen from the data)"
    assert told["tokens"] == "about 120,000 counted, 100 a step"  # 90 + 10 on average
    assert told["minutes"].startswith("about 50.0 of training here (2.50 s a step, median of 4)")
    assert told["folder"] == f"{tmp_path} (there already: train goes on with it)"
    assert places[0].parent != tmp_path and not places[0].parent.exists() and trial.made == 6
    hparams.train.steps = 1200
    trial = Trial(1200)
    other = planning.plan(hparams, tmp_path / "new", manager)
    assert "steps        1,200\n" in other and other.endswith(f"folder       {tmp_path / 'new'}")


def test_samples_go_into_the_run_and_never_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hparams = HParams(name="x")
    run, shared = tmp_path / "run", tmp_path / "shared"
    for folder in (run, shared):
        folder.mkdir()
    (run / "hparams.yaml").touch()
    assert place(run, hparams) == run / "samples" / "generated_001"
    (run / "samples" / "generated_001").mkdir(parents=True)
    (run / "samples" / "generated_002").symlink_to("nowhere")
    assert place(run, hparams) == run / "samples" / "generated_003" and beside(run, hparams, "kept").name == "kept_001"
    assert place(shared, hparams) == Path("samples/x_001") == fresh(Path("samples"), "x")
    out = tmp_path / "out"
    hparams.generate.out = str(out)
    assert place(run, hparams) == out
    out.mkdir()
    (out / "notes.txt").touch()
    assert place(run, hparams) == out
    for name in ("12.musicxml", "index.html"):
        (out / name).touch()
        with pytest.raises(HubError, match=rf"holds pieces of another call \({name}\)"):
            place(run, hparams)
        (out / name).unlink()


def test_only_what_touches_no_figure_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    manager = load_manager()

    def preset(**changes: Any) -> HParams:
        hparams = manager.preset("tiny")
        for key, value in changes.items():
            section: Any = hparams
            *path, last = key.split("__")
            for part in path:
                section = getattr(section, part)
            setattr(section, last, value)
        return hparams

    free: dict[str, Any] = {"train__steps": 99, "train__engine": "torch", "train__accumulate": 2, "evaluate__every": 3}
    free |= {"checkpoint__keep": 5, "generate__count": 9, "train__trackers": ["wandb"]}
    insist_same(preset(), preset(**free), tmp_path)
    insist_same(preset(), preset(deepspeed={"zero_optimization": {"stage": 1}}), tmp_path)
    bound: dict[str, Any] = {
        "train__lr": 1.0,
        "seed": 5,
        "data__batch_size": 2,
        "evaluate__tokens": 5,
        "train__clip": 9,
    }
    bound |= {"train__patience": 3, "train__precision": "bf16", "model__tie": False, "backbone__layers": 1}
    for key, value in bound.items():
        with pytest.raises(HubError, match=f"started with other values of {key.replace('__', '[.]')};"):
            insist_same(preset(), preset(**{key: value}), tmp_path)


def test_a_run_is_found_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPTUNES_RUNS", "there")
    (tmp_path / "there" / "alpha").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()

    def found(run: str) -> Path:
        return existing(argparse.Namespace(run=run), "generate")

    assert found("alpha") == Path("there/alpha") and found("here") == Path("here")
    (tmp_path / "alpha").mkdir()
    assert found("alpha") == Path("alpha"), "a folder goes before a name"
    for run, says in (("alpah2", 'Did you mean "alpha"'), ("", "generate needs --run FOLDER"), ("file", "is a file")):
        with pytest.raises(HubError, match=says):
            found(run)
    with pytest.raises(HubError, match="leave --hparams away"):
        asked(argparse.Namespace(run="alpha", hparams="tiny", verb="train", words=[]))


def test_seeds_are_the_same_everywhere() -> None:
    """The first eight bytes of BLAKE2b, little end first, without the lowest bit; Philox of NumPy from there."""
    digest = hashlib.blake2b(b"3\x1fa\x1f7", digest_size=8).digest()
    assert derive(3, "a", 7) == int.from_bytes(digest, "little") // 2 != derive(3, "a7") != derive("a", 3, 7)
    expected = np.random.Generator(np.random.Philox(derive(3, "a", 7))).random(5)
    assert generator(3, "a", 7).random(5).tolist() == expected.tolist()


def test_words_of_a_notebook_are_those_of_the_command() -> None:
    settings = {"count": 2, "top_p": 0.5, "formats": [], "prompt": "a b.mid", "controls.key": "C"}
    words = _words(settings, "generate.")
    assert [word.partition("=")[0] for word in words] == [f"generate.{key}" for key in settings]
    assert words[:3] == ["generate.count=2", "generate.top_p=0.5", "generate.formats=[]"]
    manager = load_manager()
    found = override(manager.preset("tiny"), words, section=manager.section).generate
    assert (found.count, found.top_p, found.formats, found.prompt) == (2, 0.5, [], "a b.mid")
    assert found.controls == {"key": "C"}


@pytest.mark.parametrize(("system", "bytes_each"), [("linux", 1024), ("darwin", 1)])
def test_memory_at_its_peak_is_in_bytes(system: str, bytes_each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(ru_maxrss=5000)  # kilobytes, but on a Mac bytes
    monkeypatch.setattr(planning, "resource", SimpleNamespace(getrusage=lambda who: usage, RUSAGE_SELF=0))
    monkeypatch.setattr(planning, "sys", SimpleNamespace(platform=system))
    assert planning._peak() == 5000 * bytes_each


@pytest.mark.parametrize(("processes", "bytes_each"), [(1, 16), (2, 4)])
def test_a_model_needs_weights_gradients_and_two_moments(
    processes: int, bytes_each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there, fits in ((1000 * bytes_each, True), (1000 * bytes_each - 1, False), (None, True)):
        monkeypatch.setattr(memory, "memory", lambda device, there=there: there)
        if fits:
            insist_fitting(lambda: nn.Linear(10, 100, bias=False), torch.device("cpu"), processes)
        else:
            with pytest.raises(HubError, match="the model would have 1,000 parameters"):
                insist_fitting(lambda: nn.Linear(10, 100, bias=False), torch.device("cpu"), processes)
