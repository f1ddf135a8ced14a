"""A dataset that keeps its test pieces back: validation stands in, and is called so wherever it is shown."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from supervisors.run import main
from tests.test_grid import random_steps


def chorales(folder: Path, **counts: int) -> Path:
    """A file of made chorales of twenty beats, so many a split."""
    seeds = iter(range(100))
    made = {split: [random_steps(next(seeds), 80).tolist() for _ in range(count)] for split, count in counts.items()}
    folder.mkdir(exist_ok=True)
    (folder / "Jsb16thSeparated.json").write_text(json.dumps({"train": [], "valid": [], "test": [], **made}))
    return folder


def said(*words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors), pytest.raises(SystemExit) as stop:
        main(list(words))
    return int(stop.value.code or 0), out.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two runs on chorales without a test split, what the first one printed, and what `evaluate` printed after it."""
    place = tmp_path_factory.mktemp("runs")
    data = chorales(tmp_path_factory.mktemp("data") / "set", train=12, valid=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPTUNES_RUNS", str(place))
        words = ["--hparams", "tiny", "train.steps=4", "evaluate.every=2", "train.engine=torch", "generate.length=64"]
        words += ["dataset=jsb_chorales", f"dataset.path={data}"]
        outputs = [said(*words, f"name={name}", f"train.lr={rate}") for name, rate in (("a", 0.001), ("b", 0.01))]
        assert [code for code, _, _ in outputs] == [0, 0]
        few = ["evaluate.count=9", "evaluate.beats=16", "evaluate.prompt_beats=8"]
        code, evaluated, _ = said("evaluate", "--run", str(place / "a"), *few)
        assert code == 0
        yield place, outputs[0][1], evaluated


def test_training_ends_with_the_validation_loss_and_says_so(runs: Any) -> None:
    place, trained, _ = runs
    result = json.loads((place / "b/evaluation.json").read_text())
    assert "test" not in result and (result["nats_per_note"]["split"], result["nats_per_note"]["n"]) == ("valid", 9)
    assert result["nats_per_note"]["value"] == result["valid"]["nats_per_note"]
    assert "test         none: the data has no test pieces; validation, which also chose the weights" in trained


def test_the_page_and_the_summary_name_what_was_measured(runs: Any) -> None:
    place, _, evaluated = runs
    page = (place / "a/evaluation/README.md").read_text()
    assert "on 9 validation pieces, which also chose the weights: no test split." in page
    assert "There is no test split." in page and "tried on nobody, as there are no test pieces" in page
    assert "| validation, nats per note |" in page and "compared with the validation pieces" in page
    assert "(9 training pieces measured against the validation pieces)" in page
    assert "held-out" not in page + evaluated and "test pieces to tokens" not in page
    assert "of 9 validation pieces have a near twin" in evaluated
    result = json.loads((place / "a/evaluation.json").read_text())
    assert result["prompted"]["n"] == 9 and "human" not in result["copying"] and "test" not in result["leakage"]
    rows = {json.loads(line)["row"] for line in (place / "a/evaluation/originality.jsonl").read_text().splitlines()}
    assert rows == {"generated", "continued", "ngram"}


def test_compare_names_the_split(runs: Any) -> None:
    place, _, _ = runs
    code, page, _ = said("compare", str(place / "a"), str(place / "b"))
    assert code == 0 and "## jsb_chorales, 9 validation pieces" in page
    assert "These have no test split" in page and page.count("| model |") == 1
    [group] = json.loads((place / "compare/compare.json").read_text())
    assert group["split"] == "valid" and len(group["models"]) == 2


def test_no_validation_pieces_are_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    data = chorales(tmp_path / "set", train=6, test=6)
    code, _, errors = said("--hparams", "tiny", "dataset=jsb_chorales", f"dataset.path={data}")
    assert code == 2 and "none of 12 pieces is for validation; the dataset must give some" in errors
    assert not list(tmp_path.glob("runs/**/metrics.jsonl"))
