"""The hub from Python: which words each call becomes, in which folder it looks, and what comes back."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.files import write_json
from supervisors import api
from supervisors.api import Run
from tests.made_scores import line, score


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_pieces_are_read_in_their_order_and_a_seed_is_drawn_unless_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def generate(out: Path) -> list[Path]:
        told.append(out)
        out.mkdir(parents=True, exist_ok=True)
        for number in (10, 9):
            score(line([50 + number])).dump_midi(out / f"{number}.mid")
        return [out / "10.mid", out / "9.mid"]

    def opened(folder: Path, words: list[str], manager: Any, free: Any) -> Any:
        told.append((folder, words, free))
        return SimpleNamespace(generate=generate)

    monkeypatch.setattr(api, "opened", opened)
    monkeypatch.setattr(api, "fresh_seed", lambda: 77)
    pieces = Run(tmp_path / "a").generate(count=2, prompt="x.mid")
    assert [piece.score.tracks[0].notes[0].pitch for piece in pieces] == [60, 59]
    words = ["generate.seed=77", "generate.formats=[]", "generate.count=2", "generate.prompt=x.mid"]
    assert told[0] == (tmp_path / "a", words, ("generate.",))
    assert not told[1].exists(), "nothing is left behind"
    Run(tmp_path / "a").generate(seed=5, formats=["png"], out=str(tmp_path / "kept"))
    assert told[2][1][:2] == ["generate.seed=5", "generate.formats=[png]"] and told[3] == tmp_path / "kept"
    assert (tmp_path / "kept" / "9.mid").exists()


def test_verbs_get_the_words_of_their_own_section(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    status = [0]

    def verb(options: Any) -> int:
        told.append((options.verb, options.words, options.hparams, options.run))
        print("a page of figures")
        return status[0]

    monkeypatch.setattr("supervisors.verbs.train", verb)
    monkeypatch.setattr("supervisors.verbs.evaluate", verb)
    monkeypatch.setattr("supervisors.comparison.verb.compare", verb)
    assert api.train("tiny").folder == (runs / "tiny").resolve()
    named = api.train("tiny", {"name": "x", "train.lr": 0.5})
    assert named.folder == (runs / "x").resolve()
    assert told == [("train", [], "tiny", ""), ("train", ["name=x", "train.lr=0.5"], "tiny", "")]
    status[0] = 130
    with pytest.raises(KeyboardInterrupt):
        api.train("tiny")
    status[0] = 0
    told.clear()
    write_json(runs / "x" / "evaluation.json", {"steps": 3})
    assert named.evaluate(count=9) == named.results == {"steps": 3}
    write_json(runs / "compare" / "compare.json", [{"models": []}])
    write_json(runs / "mine" / "compare.json", [])
    assert api.compare(named, "lstm_remi", seeds=2) == [{"models": []}] and api.compare(named, name="mine") == []
    folder = str(named.folder)
    assert told == [
        ("evaluate", ["evaluate.count=9"], "", folder),
        ("compare", [folder, "lstm_remi", "compare.seeds=2", "name=compare"], "", ""),
        ("compare", [folder, "name=mine"], "", ""),
    ]
    assert capsys.readouterr().out == "", "a notebook is told nothing that it did not ask for"
