"""How `compare` makes presets equal, and what it trains: parameters, tokens, minutes and seeds, by hand."""

import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import HubError
from hparams.backbones.lstm import LstmHParams
from hparams.base import HParams
from hparams.compare import CompareHParams
from hparams.loading import from_file
from plugins.manager import load_manager
from supervisors.comparison import matching, verb
from supervisors.comparison.verb import equalize
from supervisors.run import main
from supervisors.training.token_supervisor import TokenSupervisor
from tests.test_compare import _run


class Targets:
    """Steps of so many targets each, one after the other."""

    def __init__(self, *counts: int) -> None:
        self.counts = counts
        self.steps_per_epoch = 3.0

    def counted(self, step: int) -> int:
        return self.counts[step % len(self.counts)]


class Square(TokenSupervisor):
    """A model of layers * width^2 numbers, at widths that are multiples of `grain`."""

    grain, targets = 1, Targets(7, 8)

    def load_data(self) -> None:
        pass

    def build_batches(self, packs: bool) -> Any:
        return self.targets

    def make_model(self, hparams: HParams) -> nn.Module:
        own = hparams.backbone
        if own.dim % self.grain:
            raise ValueError("no such width")
        model = nn.Module()
        model.weight = nn.Parameter(torch.empty(own.layers, own.dim, own.dim))
        return model


def plan(name: str, dim: int, layers: int = 2, steps: int = 3) -> HParams:
    hparams = HParams(name=name, backbone=LstmHParams(dim=dim, layers=layers))
    hparams.train.steps, hparams.train.patience = steps, 5
    return hparams


def square(hparams: HParams, folder: Path, grain: int = 1, *counts: int) -> Square:
    made = Square(hparams, load_manager(), folder)
    made.grain, made.targets = grain, Targets(*(counts or (7, 8)))
    return made


def equal(folder: Path, plans: list[HParams], swept: Any = (), counts: Any = ((7, 8), (5,)), **asked: Any) -> None:
    told = {hparams.name: targets for hparams, targets in zip(plans, counts, strict=False)}
    manager: Any = SimpleNamespace(
        supervise=lambda hparams, place: square(hparams, place, 1, *told.get(hparams.name, (7, 8)))
    )
    equalize(plans, CompareHParams(**asked), manager, folder, swept)


def sizes(plans: list[HParams]) -> list[int]:
    return [hparams.backbone.layers * hparams.backbone.dim**2 for hparams in plans]


def test_all_get_the_size_and_the_tokens_of_the_first(tmp_path: Path) -> None:
    plans = [plan("a", 64), plan("b", 20, steps=99), plan("c", 300, layers=1, steps=99)]
    equal(tmp_path, plans)
    assert sizes(plans)[0] == 2 * 64**2
    assert all(abs(size / 8192 - 1) <= 0.02 for size in sizes(plans)) and plans[2].backbone.layers == 1
    # three steps of the first count 7 + 8 + 7 = 22 targets; the second counts 5 a step
    assert [hparams.train.steps for hparams in plans] == [3, 5, 3]
    assert [hparams.train.patience for hparams in plans] == [0, 0, 0]


def test_what_is_asked_for_wins_over_the_first(tmp_path: Path) -> None:
    plans = [plan("a", 64), plan("b", 20)]
    equal(tmp_path, plans, parameters=20_000, tokens=31)
    assert all(abs(size / 20_000 - 1) <= 0.02 for size in sizes(plans))
    assert [hparams.train.steps for hparams in plans] == [5, 7]  # 7 + 8 + 7 + 8 is one too few
    left = [plan("a", 64, steps=0)]
    equal(tmp_path, left)
    assert left[0].train.steps == 200, "the fewest that a run takes by itself"


def test_what_is_swept_stays_as_asked(tmp_path: Path) -> None:
    wide = [plan("a", 64), plan("b", 20)]
    equal(tmp_path, wide, swept={"backbone.dim"})
    assert [hparams.backbone.dim for hparams in wide] == [64, 20] and wide[1].train.steps == 5
    long = [plan("a", 64, steps=4), plan("b", 20, steps=9)]
    equal(tmp_path, long, swept={"train.steps"})
    assert [hparams.train.steps for hparams in long] == [4, 9] and abs(sizes(long)[1] / 8192 - 1) <= 0.02


def test_minutes_are_made_steps_by_each_one_s_own_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, told = {"a": 61.0, "b": 120.0}, []

    def rate(train: Any, hparams: HParams, memory: Path) -> float:
        told.append((train, hparams.train.patience, hparams.backbone.dim, memory))
        return rates[hparams.name]

    monkeypatch.setattr(matching, "tokens_per_minute", rate)
    plans = [plan("a", 64, steps=1), plan("b", 64, steps=1)]
    equal(tmp_path, plans, minutes=0.5)
    # half a minute is 30.5 tokens, 30 rounded: 7 + 8 + 7 + 8; and 60: twelve steps of 5
    assert [hparams.train.steps for hparams in plans] == [4, 12]
    assert told == [(verb.train, 0, 64, tmp_path / f"{name}.rate.json") for name in "ab"]


def test_no_width_near_it_names_the_nearest_size_of_all(tmp_path: Path) -> None:
    plans = [plan("coarse", 64), plan("fine", 50)]
    supervisors = {"coarse": square(plans[0], tmp_path, 64), "fine": square(plans[1], tmp_path)}
    manager: Any = SimpleNamespace(supervise=lambda hparams, place: supervisors[hparams.name])
    # The coarse one has 2 * 128^2 = 32768, 3 * 64^2 = 12288 and so on; of sizes within 2 % of the first, which is the
    # nearest to 31000, the fine one has 2 * 127^2 = 32258 at least (3 * 104^2 and 180^2 are larger).
    with pytest.raises(HubError, match=r"no width gives coarse 31,000 .* within 2%; the nearest size of all: .*=32258"):
        equalize(plans, CompareHParams(parameters=31_000), manager, tmp_path)


def test_a_width_that_machines_like_is_taken_and_depth_changes_last(tmp_path: Path) -> None:
    fine = square(plan("fine", 50), tmp_path)
    matching.match_parameters(fine, 2 * 129**2)  # 128 is 1.5 % below
    assert (fine.hparams.backbone.dim, fine.hparams.backbone.layers) == (128, 2)
    matching.match_parameters(square(plan("exact", 129), tmp_path), 2 * 129**2)
    for target, layers, dim in ((3 * 64**2, 3, 64), (1 * 192**2, 1, 192), (4 * 64**2, 1, 128)):
        coarse = square(plan("coarse", 64), tmp_path, 64)
        assert matching.match_parameters(coarse, target) is not None
        found = coarse.hparams.backbone
        assert (found.layers, found.dim) == (layers, dim)
    same = square(plan("same", 129), tmp_path)
    for target in (0, round(2 * 129**2 * 1.019)):  # near enough already
        assert matching.match_parameters(same, target) is not None and same.hparams.backbone.dim == 129


def child(monkeypatch: pytest.MonkeyPatch, status: int) -> list[Any]:
    """What would be started, and the plan that it would find."""
    told: list[Any] = []

    def ended(command: list[str], environment: dict[str, str]) -> int:
        told.extend([command, environment, Path(command[command.index("--hparams") + 1]).read_text()])
        return status

    monkeypatch.setattr(verb, "_ended", ended)
    return told


def preset(**train: Any) -> HParams:
    hparams = load_manager().preset("lstm_remi")
    hparams.name, hparams.seed = "r-seed2", 2
    vars(hparams.train).update(train)
    return hparams


def test_a_run_is_trained_in_a_process_of_its_own_by_its_whole_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "theirs")
    told = child(monkeypatch, 0)
    verb.train(preset(steps=7, lr=0.5), tmp_path)
    command, environment, text = told
    assert command == [*verb.CHILD, "--hparams", str(tmp_path / "r-seed2.yaml"), "name=r-seed2"]
    assert environment["SWAPTUNES_RUNS"] == str(tmp_path)
    root, theirs = environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(root) / "supervisors" / "run.py").exists() and theirs == "theirs"
    (tmp_path / "again.yaml").write_text(text)
    planned = from_file(tmp_path / "again.yaml", load_manager().section)
    assert (planned.seed, planned.train.steps, planned.train.lr) == (2, 7, 0.5)
    assert not (tmp_path / "r-seed2.yaml").exists()


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (1, HubError),
        (2, HubError),
        (130, KeyboardInterrupt),
        (143, KeyboardInterrupt),
        (-signal.SIGTERM, KeyboardInterrupt),
    ],
)
def test_a_run_that_fails_is_no_row(
    status: int, raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(monkeypatch, status)
    with pytest.raises(raised, match=rf"could not be trained \(exit {status}" if raised is HubError else None):
        verb.train(preset(steps=7), tmp_path)
    assert (tmp_path / "r-seed2.yaml").exists(), "to see what was asked for"


def test_only_a_run_evaluated_piece_by_piece_at_its_last_step_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = child(monkeypatch, 0)
    place = Path(_run(tmp_path, "lstm_remi", 2, np.full(9, 1.0)))  # evaluated at step 10
    place.rename(tmp_path / "r-seed2")
    verb.train(preset(steps=10), tmp_path)
    assert not told and verb.concluded(tmp_path / "r-seed2") == 10
    for steps, without in ((11, ""), (9, ""), (10, "evaluation/pieces.jsonl"), (10, "evaluation.json")):
        if without:
            (tmp_path / "r-seed2" / without).unlink()
            assert verb.concluded(tmp_path / "r-seed2") == -1
        told.clear()
        verb.train(preset(steps=steps), tmp_path)
        assert told


def test_every_preset_is_trained_in_every_seed_and_the_table_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    trained: list[tuple[str, int, float]] = []

    def train(hparams: HParams, folder: Path) -> None:
        trained.append((hparams.name, hparams.seed, hparams.train.lr))
        source = "lstm_remi" if hparams.name.startswith("lstm") else "mamba_remi"
        nats = np.full(9, 100.0 + hparams.seed + (50 if source == "lstm_remi" else 0))
        (folder / hparams.name).parent.mkdir(parents=True, exist_ok=True)
        Path(_run(folder, source, hparams.seed, nats)).rename(folder / hparams.name)

    monkeypatch.setattr(verb, "train", train)
    monkeypatch.setattr(verb, "equalize", lambda plans, settings, manager, folder, swept: None)
    stands = _run(tmp_path, "transformer_remi", 4, np.full(9, 10.0))
    with pytest.raises(SystemExit) as stop:
        main(["compare", "mamba_remi", "lstm_remi", stands, "compare.seeds=2", "train.lr=0.25", "name=t"])
    assert stop.value.code == 0
    names = [f"{name}_remi-seed{seed}" for seed in (0, 1) for name in ("mamba", "lstm")]
    assert trained == [(name, int(name[-1]), 0.25) for name in names]
    [group] = json.loads((tmp_path / "runs/t/compare.json").read_text())
    assert [(model["name"], model["by_seed"]) for model in group["models"]] == [
        ("transformer_remi-4", {"4": 0.2}),
        ("mamba_remi", {"0": 2.0, "1": 2.02}),
        ("lstm_remi", {"0": 3.0, "1": 3.02}),
    ]


def test_a_sweep_says_which_keys_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    told: list[Any] = []

    def equal(plans: list[HParams], settings: Any, manager: Any, folder: Path, swept: Any) -> None:
        rows = [(one.name, one.backbone.dim, one.train.lr, one.dataset.name) for one in plans]
        told.extend([rows, settings.parameters, folder, swept])
        raise HubError("enough")

    monkeypatch.setattr(verb, "equalize", equal)
    words = ["backbone.dim=32,64", "train.lr=0.25", "compare.parameters=99", "name=x", "name=t"]
    with pytest.raises(SystemExit) as stop:
        main(["compare", "lstm_remi", *words])
    assert stop.value.code == 2 and "enough" in capsys.readouterr().err
    rows = [(f"lstm_remi-backbone.dim={dim}", dim, 0.25, "bach_chorales") for dim in (32, 64)]
    assert told == [rows, 99, tmp_path / "runs" / "t", {"backbone.dim"}]


def test_runs_that_differ_in_what_touches_no_model_are_one_model(tmp_path: Path) -> None:
    manager = load_manager()
    words = ["generate.count=9", "evaluate.beats=32", "checkpoint.keep=7"]
    first = _run(tmp_path / "x", "mamba_remi", 0, np.full(9, 1.0))
    same = _run(tmp_path / "y", "mamba_remi", 1, np.full(9, 1.0), *words, "name=other")
    unlike = [
        _run(tmp_path / str(n), "mamba_remi", 2 + n, np.full(9, 1.0), word)
        for n, word in enumerate(("train.steps=5", "data.batch_size=48"))
    ]
    found = verb._grouped([Path(first), Path(same), *map(Path, unlike)], manager)
    assert list(found) == ["mamba_remi-0", *(Path(place).name for place in unlike)]
    assert found["mamba_remi-0"] == [Path(first), Path(same)]
    assert list(verb._grouped([Path(first)], manager, taken=["mamba_remi-0"])) == [first]
    (Path(same) / "evaluation.json").unlink()
    with pytest.raises(HubError, match=r"has not been evaluated; finish it, or: evaluate --run"):
        verb._grouped([Path(first), Path(same)], manager)


def test_the_seeds_of_a_comparison_stand_under_the_name_that_they_share(tmp_path: Path) -> None:
    manager = load_manager()
    places = []
    for seed in (3, 4):
        place = Path(_run(tmp_path / str(seed), "mamba_remi", seed, np.full(9, 1.0)))
        places.append(place.rename(place.with_name(f"a-seed{seed}")))
    assert verb._grouped(places, manager) == {"a": places}
    assert list(verb._grouped(places[:1], manager)) == ["a-seed3"], "one seed is named"
    assert list(verb._grouped(places, manager, taken=["a"])) == [str(places[0])]


def test_two_models_of_one_name_are_both_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = load_manager()
    for folder, seed in (("q", 0), (".", 1)):
        (tmp_path / folder).mkdir(exist_ok=True)
        Path(_run(tmp_path / str(seed), "mamba_remi", 0, np.full(9, 1.0), f"train.steps={5 + seed}")).rename(
            tmp_path / folder / "x"
        )
    monkeypatch.chdir(tmp_path)
    assert verb._grouped([Path("q/x"), Path("x")], manager) == {
        "x": [Path("q/x")],
        str(tmp_path / "x"): [Path("x")],
    }


def test_words_for_runs_that_stand_change_nothing_and_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [_run(tmp_path, name, 0, np.full(9, 1.0)) for name in ("mamba_remi", "lstm_remi")]
    for word in ("train.lr=1", "compare.seeds=2"):
        with pytest.raises(SystemExit) as stop:
            main(["compare", *runs, word])
        assert stop.value.code == 2 and f'"{word}" changes nothing' in capsys.readouterr().err


def test_rates_of_unlike_settings_are_measured_apart(tmp_path: Path) -> None:
    """A damaged memory is no memory, and minutes of nothing are never infinite."""
    (tmp_path / "m.json").write_text("{")

    def trial(hparams: HParams, folder: Path) -> None:
        (folder / "trial").mkdir()
        told = [json.dumps({"tokens_per_second": rate}) for rate in [1.0] * matching.WARM + [4.0, 2.0, 12.0]]
        (folder / "trial/metrics.jsonl").write_text("\n".join(told))

    rate = matching.tokens_per_minute(trial, load_manager().preset("lstm_remi"), tmp_path / "m.json")
    assert rate == 240.0 and math.isfinite(rate)
    assert json.loads((tmp_path / "m.json").read_text())["tokens_per_minute"] == 240.0
