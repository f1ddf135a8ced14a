"""What finished runs say of themselves, gathered without the verb: figures of a model over its seeds, and refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import HubError
from supervisors.comparison.rows import collect
from tests.test_compare import _run


def changed(folder: str, name: str, **values: Any) -> Path:
    """A copy of a run whose JSON file has other values; those that are None go."""
    place = Path(folder).with_name("changed")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    told = {**json.loads((place / name).read_text()), **values}
    (place / name).write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    return place


def test_a_model_is_the_mean_of_its_seeds(tmp_path: Path) -> None:
    one, two = (Path(_run(tmp_path, "mamba_remi", seed, np.full(9, 100.0 + seed))) for seed in (3, 5))
    more = changed(str(two), "evaluation.json", tokens_seen=3000, minutes=4.5)
    lines = (more / "evaluation/pieces.jsonl").read_text().splitlines()
    (more / "evaluation/pieces.jsonl").write_text("\n".join(lines[::-1]) + "\n")  # their order tells nothing
    (group,) = collect({"a": [one, more]})
    (entry,) = group.entries
    assert (group.split, group.pieces, group.notes, group.told, group.tokenizer) == ("test", 9, 450, 450, "remi")
    assert (entry.tokens, entry.minutes, entry.parameters, entry.seeds) == (2000.0, 3.0, 5000, [3, 5])
    assert (entry.ngram, entry.order, entry.data) == (3.0, 4, ["one"]) and entry.folders == [str(one), str(more)]
    assert list(entry.row.by_seed) == [103 / 50, 105 / 50] and entry.estimate.value == pytest.approx(104 / 50)
    told = group.plain()["models"][0]
    assert told["by_seed"] == {3: 103 / 50, 5: 105 / 50} and told["runs"] == entry.folders


def test_the_best_comes_first_and_other_tokens_stand_apart(tmp_path: Path) -> None:
    folders = {
        name: [Path(_run(tmp_path, preset, seed, np.full(9, nats)))]
        for seed, (name, preset, nats) in enumerate(
            [("worse", "mamba_remi", 90.0), ("better", "mamba_remi", 80.0), ("other", "mamba_tsd_bpe", 70.0)]
        )
    }
    remi, tsd = collect(folders)
    assert [entry.row.name for entry in remi.entries] == ["better", "worse"]
    assert [entry.row.name for entry in tsd.entries] == ["other"] and tsd.differences == []


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path, "mamba_remi", 1, np.full(9, 100.0))
    for name, values, says in (
        ("evaluation.json", {"parameters": None, "minutes": None}, "tells no minutes, parameters"),
        ("evaluation.json", {"tokens_seen": None, "parameters": None, "minutes": None}, "minutes, parameters, tokens"),
        ("evaluation.json", {"test": {"pieces": 8, "baselines": {}}}, "pieces.jsonl is not whole"),
    ):
        with pytest.raises(HubError, match=says):
            collect({"a": [changed(run, name, **values)]})
    place = changed(run, "evaluation.json")
    lines = (place / "evaluation/pieces.jsonl").read_text()
    (place / "evaluation/pieces.jsonl").write_text(lines.replace("100.0", "NaN", 1))
    with pytest.raises(HubError, match=r"is not whole\); evaluate --run"):
        collect({"a": [place]})
    (changed(run, "evaluation.json") / "model/config.json").unlink()
    with pytest.raises(HubError, match="has no readable model"):
        collect({"a": [place]})
    other = changed(run, "model/config.json", tokenizer_fingerprint="another")
    with pytest.raises(HubError, match="have other tokens each"):
        collect({"a": [Path(run), other]})
    with pytest.raises(HubError, match="not tested on the same pieces"):
        collect({"a": [Path(run), Path(_run(tmp_path, "mamba_remi", 2, np.full(8, 100.0)))]})


def test_like_stands_with_like_and_tables_say_what_sets_them_apart(tmp_path: Path) -> None:
    """Runs of one dataset and tokenizer by name: with other settings of either, or of another supervisor."""
    one, two, three = (
        Path(_run(tmp_path / str(n), "mamba_remi", n, np.full(9, 90.0 + n), *words))
        for n, words in enumerate(((), ("tokenizer.num_tempos=6",), ("data.length=512",)))
    )
    two = changed(str(two), "model/config.json", tokenizer_fingerprint="of six").rename(tmp_path / "two")
    first, second = collect({"a": [one], "b": [two], "c": [three]})
    assert [entry.row.name for entry in first.entries] == ["a", "c"] and [e.row.name for e in second.entries] == ["b"]
    assert first.apart == second.apart == ["tokenizer.num_tempos"]
    assert (first.settings["tokenizer.num_tempos"], second.settings["tokenizer.num_tempos"]) == (
        43,
        6,
    )
    assert collect({"a": [one], "c": [three]})[0].apart == []
    latent = Path(_run(tmp_path / "3", "mamba_remi", 3, np.full(9, 90.0), "supervisor=music_vae"))
    apart = collect({"a": [one], "d": [latent]})
    assert [[entry.row.name for entry in group.entries] for group in apart] == [["a"], ["d"]], "a bound is no loss"


def test_lines_of_another_split_and_the_seeds_own_data_are_told_apart(tmp_path: Path) -> None:
    one, two = (Path(_run(tmp_path, "mamba_remi", seed, np.full(9, 100.0))) for seed in (3, 5))
    more = changed(str(two), "model/config.json", data_fingerprint="another")
    told = json.loads((more / "evaluation.json").read_text())
    told["test"]["notes_told"] = 400
    told["valid"] = {"pieces": 1, "baselines": {}}
    for run in (one, more):
        (run / "evaluation.json").write_text(json.dumps(told))
        with (run / "evaluation/pieces.jsonl").open("a") as file:
            file.write('{"split": "valid", "source": "v.mid", "index": 0, "nats": 1.0, "notes": 1}\n')
    (group,) = collect({"a": [one, more]})
    assert (group.pieces, group.notes, group.told) == (9, 450, 400)
    assert group.entries[0].data == ["another", "one"] and group.entries[0].estimate.value == 2.0
    assert (group.plain()["notes_told"], group.plain()["split"]) == (400, "test")
