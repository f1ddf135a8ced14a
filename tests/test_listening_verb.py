"""The verb `listen`: whose music is heard, which pieces of it, and which words are refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import HubError
from hparams.listen import ListenHParams
from supervisors import opening
from supervisors.evaluation import report
from supervisors.listening import site, verb
from supervisors.run import main
from tests.test_listening import tune


def folder_of(place: Path, pitches: list[int]) -> Path:
    place.mkdir(parents=True)
    for pitch in pitches:
        tune(pitch, 80).dump_midi(place / f"{pitch}.mid")
    return place


def firsts(scores: list[Any]) -> list[int]:
    return [score.tracks[0].notes[0].pitch for score in scores]


def ends(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["listen", *words])
    return int(stop.value.code or 0)


def test_folders_are_heard_under_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    one = folder_of(tmp_path / "one", [50, 51, 52])
    folder_of(tmp_path / "runs/two", [70, 71])
    words = [str(one), "two", "listen.pieces=2", "listen.serve=false", "listen.seconds=1", "name=mine"]
    assert ends(words) == 0
    key = json.loads((tmp_path / "runs/mine/key.json").read_text())
    assert sorted((clip["system"], clip["piece"]) for clip in key["clips"].values()) == [
        ("one", 0), ("one", 1), ("two", 0), ("two", 1),
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert str(tmp_path / "runs/mine/site/index.html") in said and "serving" not in said


def test_pieces_of_a_folder_are_drawn_by_the_seed_and_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "one", list(range(40, 60)))
    (place / "39.mid").write_bytes(b"MThd")
    (place / "notes.txt").write_text("no music")
    found = [firsts(verb._music(str(place), [], ListenHParams(pieces=6, seed=seed))) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    for pitches in found:
        assert len(set(pitches)) == 6 and pitches != sorted(pitches) and set(pitches) <= set(range(40, 60))
    assert sorted(firsts(verb._music(str(place), [], ListenHParams(pieces=30)))) == list(range(40, 60))
    assert sorted(firsts(verb._music(str(place), [], ListenHParams(pieces=20)))) == list(range(40, 60))
    with pytest.raises(HubError, match="is neither a folder nor the name of a run"):
        verb._music(str(tmp_path / "nowhere"), [], ListenHParams())


@pytest.mark.parametrize("mark", ["hparams.yaml", "config.json"])
def test_a_run_is_heard_by_what_it_draws_with_the_test_s_seed(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder_of(tmp_path / "run", [40, 41])  # which lie there, and are not what it draws
    (place / mark).write_text("{}")
    told: list[Any] = []

    def drawn(out: Path) -> list[Path]:
        folder_of(out / "new", [60, 61, 62])
        return [out / "new" / f"{pitch}.mid" for pitch in (62, 60, 61)]

    def opened(folder: Path, words: list[str], manager: Any, free: Any) -> Any:
        told.append((folder, words, free))
        return SimpleNamespace(generate=drawn)

    monkeypatch.setattr(opening, "opened", opened)
    assert firsts(verb._music(str(place), [], ListenHParams(pieces=3, seed=7))) == [62, 60, 61]
    words = ["generate.count=3", "generate.seed=7", "generate.formats=[]"]
    assert told == [(place, words, ("generate.",))]


@pytest.mark.parametrize(("counts", "split"), [({"valid": 9, "test": 9}, "test"), ({"valid": 9, "test": 0}, "valid")])
def test_real_music_is_what_the_first_run_is_tested_on(
    counts: dict[str, int], split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = folder_of(tmp_path / "plain", [40])
    runs = [folder_of(tmp_path / name, []) for name in ("first", "second")]
    for run in runs:
        (run / "hparams.yaml").touch()
    told: list[Any] = []
    store = SimpleNamespace(count=counts.get)
    supervisor = SimpleNamespace(store=store, load_data=lambda: None)

    def opened(folder: Path, *_: Any) -> Any:
        told.append(folder)
        return supervisor

    monkeypatch.setattr(opening, "opened", opened)
    asked: list[tuple[str, int]] = []

    def source(split: str, number: int) -> Any:
        asked.append((split, number))
        return None if number == 3 else tune(50 + number, 80)  # one that cannot be read any more

    monkeypatch.setattr(report, "reader", lambda supervisor: source)
    subjects = [str(plain), *map(str, runs), "real"]
    found = firsts(verb._music("real", subjects, ListenHParams(pieces=8)))
    assert told == [runs[0]] and {one for one, _ in asked} == {split}
    assert sorted(found) == [50 + k for k in range(9) if k != 3] and found != sorted(found)
    assert len(verb._music("real", subjects, ListenHParams(pieces=2))) == 2
    with pytest.raises(HubError, match="real needs a run beside it"):
        verb._music("real", [str(plain), "real"], ListenHParams())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["real"], "two systems at least"),
        (["a", "a"], "two systems at least"),
        (["runs/a", "other/a"], "two systems are called a"),
        (["a", "b", "generate.count=3"], '"generate.count=3" cannot be changed here; only listen.* and name= can'),
        (["a", "b", "listen.peices=3"], 'Did you mean "listen.pieces"'),
        (["a", "b", "listen.pieces=1"], "listen.pieces is 1; expected at least 2"),
        (["a", "b", "listen.seconds=0.5"], "listen.seconds is 0.5; expected 1 to 600 seconds"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(site, "write", lambda *_: pytest.fail("a test was made"))
    assert ends(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
