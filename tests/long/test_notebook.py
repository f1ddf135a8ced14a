"""The example notebook, run as it stands."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
