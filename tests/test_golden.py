"""A run folder and an artefact of an earlier version still resume, open and play as they did.

tests/golden/ was written before files moved into rooms and before supervisors became plugins: six steps of a small
LSTM on made-up melodies. expected.json is what that version itself did next.
"""

import json
import shutil
from pathlib import Path

import pytest

from supervisors.run import main

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPTUNES_RUNS", "runs")
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    shutil.copytree(GOLDEN / "music", "music")
    shutil.copytree(GOLDEN / "run", "runs/golden")
    return tmp_path


def done(*words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0


def test_an_earlier_run_goes_on_as_it_would_have(place):
    done("--run", "runs/golden", "train.steps=9")
    lines = [json.loads(line) for line in Path("runs/golden/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line and line["step"] > 6]
    assert [line["step"] for line in steps] == [7, 8, 9]
    for line, wanted in zip(steps, EXPECTED["steps"], strict=True):
        assert {key: line[key] for key in wanted} == pytest.approx(wanted, rel=1e-6)
    (valid,) = (line for line in lines if line["step"] > 6 and "valid_loss" in line)
    assert {key: valid[key] for key in EXPECTED["valid"][0]} == pytest.approx(EXPECTED["valid"][0], rel=1e-6)


def test_an_earlier_artefact_plays_what_it_played(place):
    done("generate", "--run", "runs/golden/model", "generate.out=new", "generate.seed=4", "generate.length=48",
         "generate.count=2")  # fmt: skip
    assert [json.loads(Path(f"new/{i}.json").read_text())["tokens"] for i in (0, 1)] == EXPECTED["tokens"]
