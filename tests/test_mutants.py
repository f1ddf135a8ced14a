"""The runner that plants faults: what it plants, how it names them, and which tests it asks."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.mutants import reach, results
from tests.mutants.__main__ import _stands
from tests.mutants.planting import Outcome
from tests.mutants.source import Mutant, mutants


def planted(tmp_path: Path, text: str) -> list[Mutant]:
    (tmp_path / "m.py").write_text(text, encoding="utf-8")
    return [mutant for mutant in mutants(tmp_path, "m.py") if mutant.text(tmp_path) is not None]


def bare(change: str) -> str:
    """Of something as short as a number the text around it is told as well."""
    return re.sub(r".*\[(-?\w+ → -?\w+)\].*", r"\1", change)


def changes(tmp_path: Path, text: str) -> set[str]:
    return {bare(mutant.change) for mutant in planted(tmp_path, text)}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a + b", {"a + b → a - b"}),
        ("a < b", {"a < b → a <= b", "a < b → a >= b"}),
        ("a and b", {"a and b → a or b", "a and b → a", "a and b → b"}),
        ("not a", {"not a → a"}),
        ("a[1:]", {"a[1:] → a[:]", "1 → 2", "1 → 0"}),
        ("a[-1]", {"-1 → 0", "-1 → -2"}),
        ("min(a, b)", {"min(a, b) → max(a, b)"}),
        ("a.sum(0, b=a)", {"0 → 1"} | {f"a.sum(0, b=a) → {new}" for new in ("a.mean(0, b=a)", "a.sum(0)")}),
        ("a if b else a.b", {"a if b else a.b → a.b if b else a"}),
        ("a.b(a, strict=True)", set()),
        ("[a for a in b if a]", {"[a for a in b if a] → [a for a in b]"}),
    ],
)
def test_what_an_expression_may_become(line: str, wanted: set[str], tmp_path: Path) -> None:
    assert changes(tmp_path, f"def f(a, b):\n    c = {line}\n") == wanted


def test_statements_are_dropped_and_texts_left_alone(tmp_path: Path) -> None:
    text = 'def f(a: "int" = 2) -> None:\n    """1 + 1."""\n'
    text += '    if a > 0:\n        raise ValueError(f"{a + 1}")\n    a.b()\n'
    wanted = {"2 → 3", "2 → 1", "a > 0 → a >= 0", "a > 0 → a <= 0", "0 → 1", "a.b() → pass"}
    assert changes(tmp_path, text) == wanted | {"raise ValueError(f'{a + 1}') → pass"}


def test_the_text_has_the_one_fault(tmp_path: Path) -> None:
    (found,) = (m for m in planted(tmp_path, "É = 'é'\nx = (1 +\n     2)  # kept\n") if m.change == "1 + 2 → 1 - 2")
    assert found.text(tmp_path) == "É = 'é'\nx = ((1 - 2))  # kept\n"


def test_a_fault_keeps_its_name_while_its_definition_stays(tmp_path: Path) -> None:
    text = "def f(a):\n    return a * 2\n"
    before = [mutant.name for mutant in planted(tmp_path, text)]
    assert [m.name for m in planted(tmp_path, "import os\n\n\nclass A:\n    pass\n\n\n" + text)] == before
    assert not {m.name for m in planted(tmp_path, text.replace("f(a)", "g(a)"))} & set(before)
    assert len(set(before)) == len(before)


def test_a_default_is_done_at_import(tmp_path: Path) -> None:
    found = {
        mutant.change: mutant for mutant in planted(tmp_path, "LIMIT = 3\n\n\ndef f(a=2, b=1):\n    return a * 5\n")
    }
    default, constant = found["def f(a=[2 → 1], b=1):"], found["LIMIT = [3 → 4]"]
    assert default.at_import and default.names == () and default.scope == "f"
    assert constant.at_import and constant.names == ("LIMIT",) and constant.scope == ""
    assert not found["return a * [5 → 6]"].at_import


def test_recorded_lines_follow_an_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_FOLDER", tmp_path)
    (tmp_path / "texts").mkdir()
    before = "a\nb\nc"
    (tmp_path / "texts" / reach._digest(before)).write_text(before)
    assert reach._carried(reach._digest(before), before) is None
    assert reach._carried(reach._digest(before), "new\na\nB\nc") == {0: [1], 1: [2], 2: [3], 3: [4]}


def test_every_argued_equivalent_stands_in_the_code() -> None:
    """An argument about a line that is gone argues for nothing."""
    from tests.mutants import tree

    code = {line.strip() for name in tree.sources() for line in (tree.ROOT / name).read_text("utf-8").splitlines()}
    assert [key for key in results.argued() if key[1] not in code] == []


def test_what_a_lost_test_noticed_is_planted_again() -> None:
    there: Any = SimpleNamespace(tests={"tests/test_a.py::test_one": None})
    noticed = {
        by: _stands(Outcome("killed", by), there) for by in ("tests/test_a.py::test_one", "tests/test_a.py::two")
    }
    assert noticed == {"tests/test_a.py::test_one": True, "tests/test_a.py::two": False}
    assert _stands(Outcome("killed", "the process of the tests died"), there) and _stands(Outcome("timed out"), there)
