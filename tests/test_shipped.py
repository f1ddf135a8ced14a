"""Models of installed packages are found by their entry points, and what is amiss with them is one line."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.checkpoint import load_weights
from core.errors import HubError
from core.files import checksum
from plugins.manager import own_version
from supervisors.artefacts import artefact, shipping
from supervisors.asking import existing


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path that ships three models, one of them a folder that is there."""
    about = tmp_path / "toy_models-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-models\nVersion: 1.0\n")
    points = "chorales = toy_models:CHORALES\ntunes = toy_models:tunes\nlost = toy_models:LOST\nbad = toy_models:bad\n"
    (about / "entry_points.txt").write_text(f"[swaptunes.models]\n{points}")
    (tmp_path / "toy_models.py").write_text(
        "from pathlib import Path\nCHORALES = Path(__file__).parent / 'chorales'\nLOST = 'nowhere/at/all'\n"
        "def tunes():\n    return str(CHORALES)\ndef bad():\n    raise OSError('no disk')\n"
    )
    (tmp_path / "chorales").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def found(name: str) -> Path:
    return existing(argparse.Namespace(run=name), "generate")


def test_a_model_is_a_path_or_a_function_that_gives_one(installed: Path) -> None:
    assert found("model:chorales") == found("model:tunes") == installed / "chorales"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model:chorale", r'Did you mean "chorales"\?.*Installed: bad, chorales, lost, tunes'),
        ("model:lost", r"of toy-models is not there"),
        ("model:bad", r"of toy-models cannot be found \(OSError: no disk\); install toy-models again"),
    ],
)
def test_what_is_amiss_is_one_line(installed: Path, name: str, expected: str) -> None:
    with pytest.raises(HubError, match=expected):
        found(name)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be built: every file of the wheel's source. Of a run `huge` one weight is beyond float16."""
    (tmp_path / "model" / "tokenizer").mkdir(parents=True)
    (tmp_path / "model" / "tokenizer" / "toy.json").write_text("[]")

    def read(run: Path, manager: Any) -> Any:
        table = torch.tensor([[1.00001, -2.0]]) * (1e5 if run.name == "huge" else 1)
        weights = {"embedding.weight": table, "head.weight": table, "count": torch.tensor([70_000])}
        plugin = {"name": "slurp", "distribution": "slurp-net" if run.name == "theirs" else "swaptunes", "version": "1"}
        config = {"hparams": {"name": run.name}, "plugins": {"backbone": plugin}, "swaptunes": "0.1", "parameters": 4}
        config |= {"best": {"valid_loss": 1.5}, "data_license": f"CC of {run.name}", "data_url": "https://d"}
        return SimpleNamespace(folder=tmp_path / "model", weights=weights, config={**config, "sha256": "of float32"})

    found: dict[str, Any] = {}

    def built(folder: Path, out: Path) -> Path:
        found.update({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
        return out / "a.whl"

    monkeypatch.setattr(artefact, "read", read)
    monkeypatch.setattr(shipping, "_built", built)
    return found


def test_a_wheel_holds_each_model_in_half_precision_and_says_what_it_needs(
    source: dict[str, Any], tmp_path: Path
) -> None:
    runs = {"b": tmp_path / "own", "a": tmp_path / "theirs"}
    assert shipping.ship(runs, tmp_path, None) == tmp_path / "a.whl"  # type: ignore[arg-type]
    assert set(source) == {
        "setup.py", "setup.cfg", "README.md", "swaptunes_models/__init__.py",
        *(f"swaptunes_models/{name}/{file}" for name in runs
          for file in ("model.safetensors", "config.json", "README.md", "tokenizer/toy.json")),
    }  # fmt: skip
    (tmp_path / "weights").write_bytes(source["swaptunes_models/a/model.safetensors"])
    stored, weights = load_file(tmp_path / "weights"), load_weights(tmp_path / "weights")
    assert set(stored) == {"count", "embedding.weight"}, "tied weights lie there once"
    assert weights["head.weight"] is weights["embedding.weight"] and weights["head.weight"].dtype == torch.float16
    assert weights["head.weight"].tolist() == [[1.0, -2.0]] and weights["count"].tolist() == [70_000]
    config = json.loads(source["swaptunes_models/a/config.json"])
    assert config["sha256"] == checksum(tmp_path / "weights") and config["hparams"]["name"] == "theirs"
    assert b"# theirs\n" in source["swaptunes_models/a/README.md"]
    assert (
        source["README.md"]
        .decode()
        .endswith("Trained on:\n\n- `model:b`: CC of own https://d\n- `model:a`: CC of theirs https://d\n")
    )
    lines = source["setup.cfg"].decode().split("\n")
    assert f"version = {own_version()}" in lines and "name = swaptunes-models" in lines
    needed = lines.index("install_requires =")
    assert lines[needed + 1 : needed + 4] == ["    slurp-net", "    swaptunes", ""]
    assert lines[-4:] == ["swaptunes.models =", "    b = swaptunes_models:b", "    a = swaptunes_models:a", ""]
    assert "swaptunes_models = */*, */tokenizer/*" in lines
    code = source["swaptunes_models/__init__.py"].decode()
    names: dict[str, Any] = {"__file__": "/site/swaptunes_models/__init__.py"}
    exec(code, names)
    assert (names["a"], names["b"]) == (Path("/site/swaptunes_models/a"), Path("/site/swaptunes_models/b"))


def test_what_half_precision_cannot_hold_is_not_shipped(
    source: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["shipping", str(tmp_path), f"a={tmp_path / 'huge'}"])
    assert shipping.main() == 2 and not source
    said = capsys.readouterr().err
    assert said.startswith(f"swaptunes: embedding.weight of {tmp_path / 'huge'} holds numbers beyond float16's 65,504")
    for words in (["out"], ["out", "a"], ["a=b"], ["out", "a=b", "c"]):
        monkeypatch.setattr("sys.argv", ["shipping", *words])
        assert shipping.main() == 2 and capsys.readouterr().err.startswith("usage: ")
    with pytest.raises(HubError, match='"a-b" cannot be a model'):
        shipping.ship({"a-b": tmp_path}, tmp_path, None)  # type: ignore[arg-type]
