"""The verb evaluate: what it writes, what it says, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from hparams.loading import load
from plugins.manager import load_manager
from supervisors.evaluation import results as evaluation
from supervisors.evaluation.report import report
from supervisors.language_model import LanguageModelSupervisor
from supervisors.opening import opened
from supervisors.summary import measures
from supervisors.training.runfolder import RunFolder

# top_p: a model of twelve steps that draws the likeliest alone makes too few notes for a melody.
SETTINGS = [
    "evaluate.count=6",
    "evaluate.beats=16",
    "evaluate.prompt_beats=8",
    "generate.seed=3",
    "generate.top_p=0.98",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> Path:
    """A run of `tiny` on the small music."""
    folder, manager = tmp_path_factory.mktemp("runs") / "tiny", load_manager()
    words = [
        "dataset=folder",
        f"dataset.path={music_folder}",
        "train.steps=12",
        "evaluate.every=4",
        "train.engine=torch",
    ]
    words += ["generate.count=2", "generate.length=96"]
    hparams = load("tiny", words, preset=manager.preset, section=manager.section)
    supervisor = LanguageModelSupervisor(hparams, manager, folder)
    supervisor.train()
    supervisor.conclude()
    return folder


def loaded(folder: Path, words: list[str]) -> Any:
    """The run or artefact as the verb opens it, its data loaded."""
    supervisor = opened(folder, words, load_manager(), ("evaluate.", "generate."))
    supervisor.load_data()
    return supervisor


@pytest.fixture(scope="module")
def trained(run: Path) -> dict[str, Any]:
    """evaluation.json as training left it."""
    return dict(json.loads((run / "evaluation.json").read_text()))


@pytest.fixture(scope="module")
def result(run: Path, trained: dict[str, Any]) -> dict[str, Any]:
    return report(loaded(run, SETTINGS))


def test_the_file_holds_what_was_measured(run: Path, result: dict[str, Any], trained: dict[str, Any]) -> None:
    assert json.loads((run / "evaluation.json").read_text()) == json.loads(json.dumps(result))
    for name in ("nats_per_note", "pitch_class_entropy", "originality"):
        figure = result[name]
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["n"] > 0 and figure["unit"]
    assert result["overlap_area"]["low"] is None and result["overlap_area"]["value"] > 0, "six pieces are few"
    facts = ("best", "parameters", "tokens_seen", "steps", "minutes", "precision", "weights", "valid")
    assert all(result[fact] == trained[fact] for fact in facts if fact != "valid")
    assert result["valid"]["nats_per_note"] == trained["valid"]["nats_per_note"]
    assert set(result["metrics"]) | {"originality"} == set(load_manager().metrics)
    for metric in (*result["metrics"].values(), *result["prompted"]["metrics"].values()):
        for figure in metric["rows"].values():
            assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"]
            assert figure["n"] + figure["failures"] > 0


def test_every_piece_has_its_line(run: Path, result: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in (run / "evaluation" / "pieces.jsonl").read_text().splitlines()]
    for split in ("valid", "test"):
        mine, found = [line for line in lines if line["split"] == split], result[split]
        assert len(mine) == found["pieces"] and len({line["source"] for line in mine}) == found["pieces"]
        nats, notes = sum(line["nats"] for line in mine), sum(line["notes"] for line in mine)
        assert nats / notes == pytest.approx(found["nats_per_note"])
        assert nats / sum(line["tokens"] for line in mine) == pytest.approx(found["nats_per_token"])
        low, high = found["nats_per_note_interval"]
        assert low < found["nats_per_note"] < high
        for line in mine:
            assert sum(cost for cost, _ in line["kinds"].values()) == pytest.approx(line["nats"])
            assert sum(count for _, count in line["kinds"].values()) == line["tokens"]
            assert line["kinds"]["pitch"][1] == line["kinds"]["duration"][1] == line["notes_told"]
        assert sum(found["kinds"].values()) == pytest.approx(found["nats_per_note"])
        floor = found["baselines"]["ngram"]
        assert sum(floor["kinds"].values()) == pytest.approx(floor["nats_per_note"])
        assert sum(depth[2] for depth in found["depths"]) == found["tokens"]
        assert sum(depth[1] * depth[2] for depth in found["depths"]) == pytest.approx(nats)


def test_the_page_is_whole(run: Path, result: dict[str, Any]) -> None:
    folder = run / "evaluation"
    text = (folder / "README.md").read_text()
    for picture in re.findall(r"\]\((\S+\.png)\)", text):
        assert (folder / picture).stat().st_size > 2000, picture
    for name in ("loss.png", "measures.png", "distances.png", "originality.png", "generated_0.png", "continued_0.png"):
        assert name in text
    for name in result["metrics"]:
        assert name.replace("_", " ") in text
    assert f"**{result['test']['nats_per_note']:.3f}**" in text and "nan" not in text
    assert len(list((folder / "generated").glob("*.mid"))) == 6
    assert len(list((folder / "continued").glob("*.mid"))) == result["prompted"]["n"] > 0
    lines = (folder / "originality.jsonl").read_text().splitlines()
    assert len(lines) == 12 + result["prompted"]["n"] + result["test"]["pieces"]
    widths = [line.count(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert min(widths) > 2


def test_few_pieces_get_no_verdict(run: Path, result: dict[str, Any]) -> None:
    text = (run / "evaluation" / "README.md").read_text()
    assert "- Originality: too few pieces to tell (" in text and "no sign of copying" not in text.lower()
    assert result["test"]["pieces"] < 8 and "Fewer than 8 tested pieces: no measure" in text
    told = measures(result)
    assert "originality  too few pieces to tell (" in told
    assert "too few to compare music with" in told and "overlap area" not in told


def test_the_model_alone_scores_the_same(run: Path, result: dict[str, Any], tmp_path: Path) -> None:
    supervisor = loaded(run / "model", [])
    supervisor.folder = RunFolder(tmp_path)
    supervisor.folder.model = run / "model"
    again = supervisor.evaluate()
    assert again["test"]["nats_per_note"] == result["test"]["nats_per_note"] and "steps" not in again


def test_what_was_measured_goes_with_the_weights(
    tmp_path: Path, result: dict[str, Any], trained: dict[str, Any]
) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps(result))
    assert evaluation.write(folder, dict(trained), [])["overlap_area"] == result["overlap_area"]
    other = evaluation.write(folder, {**trained, "weights": "others"}, [])
    assert "overlap_area" not in other and other["nats_per_note"]["n"] == trained["test"]["pieces"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.steps=9"], r'"train.steps=9" cannot be changed here'),
        (["evaluate.count=1"], "evaluate.count is 1; expected at least 2"),
        (["evaluate.prompt_beats=64"], r"expected more than 0 and less than evaluate.beats \(64\)"),
        (["evaluate.cuont=9"], "Did you mean"),
    ],
)
def test_wrong_words_are_refused(run: Path, words: list[str], said: str) -> None:
    with pytest.raises(HubError, match=said):
        loaded(run, words)
