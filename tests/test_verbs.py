"""What verbs do with an opened model, and their exit codes: where an evaluation lies, what is removed, what is said."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import HubError
from hparams.base import GenerateHParams, HParams
from plugins import checks
from supervisors import opening, run, verbs
from supervisors.training import launched, process_group
from supervisors.training.base import Interrupted
from supervisors.training.ranks import Ranks
from supervisors.training.runfolder import RunFolder


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"words": [], "hparams": "", "run": "", "verb": "x", **given})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("artefact", [True, False])
def test_an_evaluation_of_a_shared_folder_lies_beside_it(
    artefact: bool, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a").mkdir()
    if not artefact:
        (here / "a" / "hparams.yaml").touch()
    folder = RunFolder(here / "a")
    folder.model = here / "weights"
    told: list[Any] = []

    def opened(place: Path, words: list[str], manager: Any, free: Any) -> Any:
        told.append((place, words, free))
        return supervisor

    supervisor: Any = SimpleNamespace(
        hparams=HParams(name="x"),
        folder=folder,
        ranks=SimpleNamespace(first=True),
        load_data=lambda: told.append("data"),
        report=lambda: told.append(supervisor.folder.path) or "figures",
    )
    monkeypatch.setattr(opening, "opened", opened)
    for number in (1, 2):
        assert verbs.evaluate(options(run="a", words=["evaluate.count=3"])) == 0
        place = Path("evaluations") / f"x_{number:03d}" if artefact else here / "a"
        assert told[-3:] == [(Path("a"), ["evaluate.count=3"], ("evaluate.", "generate.")), "data", place]
        assert supervisor.folder.model == here / "weights" and (place / "lock").exists()
    assert capsys.readouterr().out == "figures\n" * 2


def test_generating_says_its_seed_and_leaves_no_empty_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a").mkdir()
    asked = GenerateHParams()
    files: list[str] = []

    def generate(out: Path) -> list[Path]:
        out.mkdir(parents=True, exist_ok=True)
        for name in files:
            (out / name).touch()
        if len(files) < 2:
            raise HubError("no note")
        return [out / name for name in files if name.endswith(".mid")]

    supervisor: Any = SimpleNamespace(hparams=HParams(name="x", generate=asked), generate=generate)
    monkeypatch.setattr(opening, "opened", lambda *given: supervisor)
    monkeypatch.setattr(verbs, "fresh_seed", lambda: 55)
    for kept in ([], ["0.mid"]):
        files[:] = kept
        with pytest.raises(HubError, match="no note"):
            verbs.generate(options(run="a"))
        assert (here / "samples" / "x_001").exists() is bool(kept) and asked.seed == 55
    files[:], asked.seed = ["1.mid", "0.mid", "index.html"], 7
    assert verbs.generate(options(run="a", words=["generate.seed=7"])) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["samples/x_002/1.mid", "samples/x_002/0.mid"]
    page = (here / "samples" / "x_002" / "index.html").as_uri()
    assert err.splitlines() == [f"listen {page}", "generate.seed=7 draws the same again"]


@pytest.mark.parametrize(("passed", "status"), [((True, None), 0), ((True, False, None), 1)])
def test_a_broken_law_is_the_exit_code_and_a_skipped_one_is_not(
    passed: tuple[bool | None, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def judged(manager: Any, name: str, **settings: str) -> list[Any]:
        told.append((name, settings))
        return [SimpleNamespace(passed=one) for one in passed]

    monkeypatch.setattr(checks, "run", judged)
    monkeypatch.setattr(checks, "table", lambda verdicts: "")
    assert verbs.check(options(words=["lstm", "dtype=float32"])) == status and told == [("lstm", {"dtype": "float32"})]
    for words in (["lstm", "gru"], ["lstm", "dim=3"], []):
        with pytest.raises(HubError, match="check takes one NAME"):
            verbs.check(options(words=words))


@pytest.mark.parametrize(
    ("stop", "world", "status", "said"),
    [
        (Interrupted(7, 15), 1, 143, "saved at step 7; go on with: python -m supervisors.run --run runs/x"),
        (Interrupted(7, 2), 2, 130, "saved at step 7; the same command goes on"),
        (KeyboardInterrupt(), 1, 130, "interrupted; go on with: python -m supervisors.run --run runs/x"),
    ],
)
def test_who_stops_a_run_is_told_how_it_goes_on(
    stop: BaseException, world: int, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def train() -> None:
        raise stop

    told: list[str] = []
    folder = SimpleNamespace(unlock=lambda: told.append("unlocked"), forget=lambda: told.append("forgotten"))
    supervisor: Any = SimpleNamespace(
        lock=lambda: told.append("locked"), train=train, folder=folder, ranks=SimpleNamespace(first=True, world=world)
    )
    manager = SimpleNamespace(supervise=lambda hparams, place: supervisor)
    monkeypatch.setattr(verbs, "asked", lambda options: (HParams(name="x"), Path("runs/x")))
    monkeypatch.setattr(verbs, "load_manager", lambda: manager)
    assert verbs.train(options()) == status and capsys.readouterr().err == f"\n{said}\n"
    assert told == ["locked", "unlocked"]


def test_an_interrupted_command_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def interrupted(options: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_run", interrupted)
    with pytest.raises(SystemExit) as stop:
        run.main(["list"])
    assert stop.value.code == 130 and "the same command goes on from what was saved" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    run._say("who speaks for all is the first")
    assert capsys.readouterr().err == ""


def test_a_process_learns_from_its_launcher_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(process_group.dist, "is_initialized", lambda: bool(begun))
    monkeypatch.setattr(
        process_group.dist, "init_process_group", lambda backend, timeout: begun.append((backend, timeout.days))
    )
    levels: list[int] = []
    monkeypatch.setattr(process_group.logger, "setLevel", levels.append)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert launched.start() == Ranks() and not begun and not levels
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        assert launched.start() == process_group.Several(5, 8)
    assert begun == [("gloo", 1)] and levels == [40, 40], "a group is joined once; the others only say what fails"
