"""Models of installed packages are found by their entry points, and what is amiss with them is one line."""

import argparse
from pathlib import Path

import pytest

from core.errors import HubError
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
