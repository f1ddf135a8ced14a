"""The house stands: imports point one way, hyper-parameters need no torch, and no hook goes undocumented."""

import ast
import re
from pathlib import Path

import pytest

from plugins.registration import HOOKS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["core", "hparams", "datatools", "plugins", "supervisors", "tests"]
FILES = sorted(file for package in PACKAGES[:-1] for file in (ROOT / package).rglob("*.py"))
README = ROOT / "plugins" / "README.md"
EXAMPLE = ROOT / "tests" / "third_party" / "mingru_example"


def imported(file):
    """Top-level names of all that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES[:-1])
def test_imports_point_one_way(package):
    later = set(PACKAGES[PACKAGES.index(package) + 1 :])
    wrong = {str(file): imported(file) & later for file in FILES if file.is_relative_to(ROOT / package)}
    assert {file: names for file, names in wrong.items() if names} == {}


def test_hparams_import_no_torch():
    found = set().union(*(imported(file) for file in FILES if file.is_relative_to(ROOT / "hparams")))
    assert "dataclasses" in found and "torch" not in found


def test_no_sixth_package_and_no_catch_all():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages == set(PACKAGES)
    assert not [file for file in FILES if file.stem in ("utils", "common", "helpers", "misc")]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.S)


def test_readme_holds_the_very_files_that_are_tested():
    assert blocks("python")[0] == (EXAMPLE / "mingru_plugin.py").read_text()
    assert blocks("toml") == [(EXAMPLE / "pyproject.toml").read_text()]


def test_readme_lists_every_hook_and_no_other():
    listed = re.findall(r"^\| `(register_\w+)\(register\)`", README.read_text(), re.M)
    assert sorted(listed) == sorted(HOOKS)


def test_readme_names_laws_that_exist():
    from plugins.laws.backbones.measures import MEASURES

    __import__("plugins.laws.backbones.all")
    (named,) = re.findall(r'expected_failures=\{"([^"]+)"', README.read_text())
    assert named in {marked.name for marked in MEASURES}


def test_models_lines_are_as_few_as_the_readme_says():
    source = (EXAMPLE / "mingru_plugin.py").read_text()
    (model,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "MinGru"]
    lines = source.splitlines()[model.lineno - 1 : model.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 30
