"""Which tests reach which lines: recorded once for each file of tests, and kept until that file changes.

When a source file changes afterwards, its recorded lines are carried over to the new text by a comparison of the two;
a new line has the tests of its neighbours.
"""

import difflib
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants import tree
from tests.mutants.source import Mutant

_FOLDER = tree.KEPT / "reach"
_RC = """[run]
branch = false
parallel = true
sigterm = true
patch = _exit
concurrency = multiprocessing,thread
context = ${MUTANTS_CONTEXT-}
data_file = %(data)s
source = %(source)s
disable_warnings = no-data-collected,module-not-measured,couldnt-parse,already-imported,module-not-imported
"""


@dataclass(frozen=True)
class Test:
    """One test: its name for pytest, its own seconds, and the shared fixtures it asks for."""

    name: str
    seconds: float
    fixtures: tuple[str, ...]

    @property
    def file(self) -> str:
        """The file of tests that it stands in."""
        return self.name.split("::")[0]


class Reach:
    """The map from lines to tests of the tree as it is now."""

    def __init__(self) -> None:
        self.tests: dict[str, Test] = {}
        self.fixtures: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.breadth: dict[str, int] = {}  # of a file of tests: how many modules it reaches
        self.text = {name: (tree.ROOT / name).read_text(encoding="utf-8").splitlines() for name in tree.sources()}
        for record in (json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))):
            if not (tree.ROOT / record["file"]).exists():
                continue
            self.fixtures |= record["fixtures"]
            self.breadth[record["file"]] = len(record["lines"])
            names = list(record["tests"])
            for name, told in record["tests"].items():
                if told["passed"]:
                    self.tests[name] = Test(name, told["seconds"], tuple(told["fixtures"]))
            for source, lines in record["lines"].items():
                if source in self.text:
                    self._add(source, record["hashes"][source], lines, names)

    def _add(self, source: str, digest: str, lines: dict[str, list[int]], names: list[str]) -> None:
        carried = _carried(digest, "\n".join(self.text[source]))
        for line, numbers in lines.items():
            for new in carried.get(int(line), ()) if carried is not None else (int(line),):
                if 0 < new <= len(self.text[source]):  # an empty file is recorded with a line
                    self.lines[source][new].update(names[n] for n in numbers if names[n] in self.tests)

    def of(self, mutant: Mutant) -> list[Test]:
        """The tests that may notice a mutant, the cheapest first."""
        lines = self.lines[mutant.path]
        if not mutant.at_import:
            found = set().union(*(lines[line] for line in mutant.lines if line in lines))
            found = found or set().union(*(lines[line] for line in mutant.body if line in lines))
        elif mutant.names and (users := self._using(mutant.names)):
            found = users
        else:
            found = set().union(*(lines[line] for line in mutant.body if line in lines))
        return sorted((self.tests[name] for name in found), key=lambda test: (self.cost(test), test.name))

    def _using(self, names: tuple[str, ...]) -> set[str]:
        """The tests that reach a line where one of the names stands."""
        word = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
        found: set[str] = set()
        for source, lines in self.lines.items():
            for number, reached in lines.items():
                if word.search(self.text[source][number - 1]):
                    found |= reached
        return found

    def cost(self, test: Test) -> float:
        """Seconds of a test that is run alone."""
        return test.seconds + sum(self.fixtures.get(name, 0.0) for name in test.fixtures)


def _carried(digest: str, now: str) -> dict[int, list[int]] | None:
    """Where the lines of the recorded text are now; None where it is the same text."""
    if _digest(now) == digest:
        return None
    before = (_FOLDER / "texts" / digest).read_text(encoding="utf-8").split("\n")
    found: dict[int, list[int]] = defaultdict(list)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, now.split("\n"), autojunk=False).get_opcodes():
        if tag == "equal":
            for k in range(b - a):
                found[a + k + 1].append(c + k + 1)
        else:  # new lines have the tests of those they replace, or of the line above them
            for old in range(a + 1, b + 1) or (a,):
                found[old].extend(range(c + 1, d + 1))
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stale() -> list[str]:
    """The files of tests that have changed, or have come, since they were recorded."""
    files = [n for n in tree.listed() if re.fullmatch(rf"{tree.TESTS}/(.*/)?test_\w+\.py", n)]
    return [name for name in files if _recorded(name) != _digest((tree.ROOT / name).read_text(encoding="utf-8"))]


def _record(name: str) -> Path:
    return _FOLDER / (name.replace("/", "-") + ".json")


def _recorded(name: str) -> str | None:
    path = _record(name)
    return json.loads(path.read_text(encoding="utf-8"))["digest"] if path.exists() else None


def record(files: list[str]) -> None:
    """Runs files of tests with every line watched, and keeps what each test reached."""
    import coverage

    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        root = tree.copied(Path(work) / "tree")
        (root / "sitecustomize.py").write_text("import coverage\n\ncoverage.process_startup()\n", encoding="utf-8")
        data = Path(work) / "data" / "coverage"
        data.parent.mkdir()
        rooms = sorted({name.split("/")[0] for name in tree.sources()})
        rc = Path(work) / "rc"
        rc.write_text(_RC % {"data": data, "source": ",".join(str(root / room) for room in rooms)}, encoding="utf-8")
        told = Path(work) / "told.json"
        extra = {"COVERAGE_PROCESS_START": str(rc), "MUTANTS_OUT": str(told), "MUTANTS_CONTEXT": ""}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.recorder", "-p", "no:cacheprovider"]
        subprocess.run([*command, *files], cwd=root, env={**tree.environment(root), **extra}, check=False)
        combined = coverage.Coverage(config_file=str(rc))
        combined.combine([str(data.parent)])
        _keep(files, root, combined.get_data(), json.loads(told.read_text(encoding="utf-8")))


def _keep(files: list[str], root: Path, data: Any, told: dict[str, Any]) -> None:
    (_FOLDER / "texts").mkdir(parents=True, exist_ok=True)
    users: dict[str, list[str]] = defaultdict(list)
    for name, test in told["tests"].items():
        users[name].append(name)
        for fixture in test["fixtures"]:
            users[fixture].append(name)
    lines: dict[str, dict[str, dict[int, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    hashes = {}
    for path in data.measured_files():
        source = str(Path(path).relative_to(root))
        text = "\n".join((root / source).read_text(encoding="utf-8").splitlines())
        hashes[source] = _digest(text)
        (_FOLDER / "texts" / hashes[source]).write_text(text, encoding="utf-8")
        for line, contexts in data.contexts_by_lineno(path).items():
            for name in (name for context in contexts for name in users.get(context, ())):
                lines[name.split("::")[0]][source][line].add(name)
    for file in files:
        tests = {name: test for name, test in told["tests"].items() if name.split("::")[0] == file}
        number = {name: n for n, name in enumerate(tests)}
        asked = {fixture for test in tests.values() for fixture in test["fixtures"]}
        told_lines = {
            source: {line: sorted(number[n] for n in names) for line, names in of.items()}
            for source, of in lines[file].items()
        }
        found = {
            "file": file,
            "digest": _digest((root / file).read_text(encoding="utf-8")),
            "tests": tests,
            "fixtures": {name: told["fixtures"].get(name, 0.0) for name in asked},
            "hashes": {source: hashes[source] for source in lines[file]},
            "lines": told_lines,
        }
        _record(file).write_text(json.dumps(found), encoding="utf-8")
