"""Trained models as a wheel: installed, found by name and played; what cannot be shipped is one line."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from core.errors import HubError
from hparams.loading import load
from plugins.manager import load_manager
from supervisors.artefacts.shipping import main, ship
from supervisors.language_model import LanguageModelSupervisor
from tests.test_run import ROOT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> Path:
    """A trained run of one step."""
    folder, manager = tmp_path_factory.mktemp("runs") / "tiny", load_manager()
    words = ["dataset=folder", f"dataset.path={music_folder}", "train.steps=1", "train.engine=torch"]
    hparams = load("tiny", words, preset=manager.preset, section=manager.section)
    LanguageModelSupervisor(hparams, manager, folder).train()
    return folder


@pytest.fixture(scope="module")
def wheel(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship({"small": run, "twice": run / "model"}, tmp_path_factory.mktemp("dist"), load_manager())


def test_an_installed_wheel_is_played_by_name(wheel: Path, run: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True)
    asked = [
        "generate",
        "--run",
        "model:small",
        "generate.count=1",
        "generate.length=16",
        f"generate.out={tmp_path / 'out'}",
    ]
    path = f"{site}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-m", "supervisors.run", *asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.mid"))


def test_weights_are_those_of_the_run_to_half_precision_and_data_are_named(
    wheel: Path, run: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    kept = load_file(tmp_path / "swaptunes_models" / "small" / "model.safetensors")
    own = load_file(run / "model" / "model.safetensors")
    assert kept.keys() == own.keys() and {value.dtype for value in kept.values()} == {np.dtype("float16")}
    for name, value in own.items():
        np.testing.assert_array_equal(kept[name], value.astype(np.float16))
    config = json.loads((run / "model" / "config.json").read_text())
    (about,) = tmp_path.glob("*.dist-info/METADATA")
    text = about.read_text()
    assert "Name: swaptunes-models\n" in text and "Requires-Dist: swaptunes\n" in text
    assert f"- `model:small`: {config['data_license']}" in text
    points = next(tmp_path.glob("*.dist-info/entry_points.txt")).read_text()
    assert points == "[swaptunes.models]\nsmall = swaptunes_models:small\ntwice = swaptunes_models:twice\n"


def test_what_cannot_be_shipped_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HubError, match="cannot be a model's name"):
        ship({"a-b": run}, tmp_path, load_manager())
    for words, expected in (
        (["out"], "usage"),
        (["out", "small", str(run)], "usage"),
        ([f"small={run}"], "usage"),
        ([str(tmp_path), f"small={tmp_path / 'nowhere'}"], "neither a run nor an artefact"),
    ):
        monkeypatch.setattr(sys, "argv", ["shipping", *words])
        assert main() == 2
        assert expected in capsys.readouterr().err
    assert not list(tmp_path.glob("*.whl"))
