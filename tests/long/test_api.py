"""The lines of Python in the README, and the example notebook, run as they stand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import symusic

from core.errors import HubError
from supervisors import api

ROOT = Path(__file__).resolve().parents[2]
QUICK = '"train.steps": 12, "train.engine": "torch", "generate.length": 96'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> dict[str, Any]:
    """What the README's variables hold after its lines ran in an empty folder."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M | re.S
    )
    assert '"train.steps": 12' in block and "PATH" in block
    block = block.replace('"train.steps": 12', QUICK).replace("PATH", str(music_folder))
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("beside"))
        patch.delenv("SWAPTUNES_RUNS", raising=False)
        exec(block, names)
        names["again"] = [names["run"].generate(count=1, length=60, seed=seed) for seed in (5, 5, 6)]
        with pytest.raises(HubError, match=r"generate\.bras"):
            names["run"].generate(bras=3)
        with pytest.raises(HubError, match="nor the name of a run"):
            api.open_run("tuny")
    return names


def test_the_lines_of_the_readme_do_what_they_say(told: dict[str, Any]) -> None:
    assert len(told["pieces"]) == 2 and isinstance(told["score"], symusic.core.ScoreTick)
    assert told["score"].note_num() > 0
    assert told["figures"] == told["run"].results and told["figures"]["made"]["generated"]["n"] == 2
    assert {entry["name"] for table in told["tables"] for entry in table["models"]} == {"tiny", "other"}
    assert told["run"].hparams.train.steps == 12


def test_a_seed_draws_the_same_again(told: dict[str, Any]) -> None:
    first, second, other = (
        [(note.time, note.pitch) for track in piece.score.tracks for note in track.notes] for (piece,) in told["again"]
    )
    assert first == second and first != other


def test_the_notebook_runs(tmp_path: Path, music_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the example notebook needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="the example notebook needs nbclient and ipykernel")
    import nbformat

    path = ROOT / ".github" / "example.ipynb"
    assert not any(cell.get("outputs") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    monkeypatch.setenv("MUSIC", str(music_folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(path, as_version=4)
    done = nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = done.cells[-1]["outputs"][-1]["data"]["text/plain"]
    assert "'tiny'" in last and "'other'" in last and (tmp_path / "runs" / "tiny" / "model").is_dir()
