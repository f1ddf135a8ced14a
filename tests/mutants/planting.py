"""Plants one fault after another in a copy of the tree and runs the tests that may notice.

A process that has imported the libraries, but nothing of the tree, forks for each fault. The child imports the tree as
the fault left it and runs the chosen tests in one session of pytest, which ends with the first that fails.
"""

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import tree
from tests.mutants.reach import Reach, Test
from tests.mutants.source import Mutant

BUDGET = 60.0  # seconds of tests for one fault, by what they took when they were recorded
_MEMORY = 6 << 30  # bytes: a fault that fills the machine is noticed as well


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: "killed", "timed out", or "survived"; by which test; and whether all tests were asked."""

    state: str
    by: str = ""
    tests: int = 0
    whole: bool = True


def chosen(reach: Reach, mutant: Mutant, budget: float = BUDGET, before: str = "") -> tuple[list[Test], bool]:
    """The cheapest tests that reach a fault, within the budget, and whether they are all.

    First stands the test that noticed it `before`; the others by files, and first the file that reaches the fewest
    modules: it is about this one.
    """
    taken: list[Test] = []
    paid: set[str] = set()
    spent = 0.0
    found = sorted(reach.of(mutant), key=lambda test: test.name != before)
    for test in found:
        cost = test.seconds + sum(reach.fixtures.get(name, 0.0) for name in test.fixtures if name not in paid)
        if spent + cost > budget:
            continue
        spent += cost
        paid.update(test.fixtures)
        taken.append(test)
    narrow = {test.name: reach.breadth[test.file] for test in taken}
    places = {test.name: (test.name != before, narrow[test.name], test.file) for test in taken}
    return sorted(taken, key=lambda test: places[test.name]), len(taken) == len(found)


class Planter:
    """A copy of the tree, and a parent of the processes that test in it."""

    def __init__(self, work: Path, reach: Reach, files: list[str]) -> None:
        self.tree = tree.copied(work / "tree")
        self.fixtures = reach.fixtures
        self.work = work
        self.sound: dict[str, bool] = {}  # whether a test that noticed something passes without a fault
        # Collecting what will be asked compiles what is not planted in, and tells which libraries a test needs.
        for name in (self._forked(files, None, 600) or "").split() if files else ():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    def run(self, mutant: Mutant, tests: list[Test], whole: bool) -> Outcome:
        """Plants, tests and mends; a test that fails without the fault as well is asked no more."""
        while True:
            tests = [test for test in tests if self.sound.get(test.name, True)]
            outcome = self._planted(mutant, tests, whole)
            by = next((test for test in tests if outcome.by in (test.name, f"{test.file} (import)")), None)
            if by is None:
                return outcome
            if by.name not in self.sound:
                self.sound[by.name] = self._forked([by.name], 1, 60 + 3 * by.seconds) == ""
            if self.sound[by.name]:
                return outcome

    def _planted(self, mutant: Mutant, tests: list[Test], whole: bool) -> Outcome:
        text = mutant.text(self.tree)
        assert text is not None, "not asked for faults that are none"
        if not tests:
            return Outcome("survived", whole=whole)
        path = self.tree / mutant.path
        before, times = path.read_bytes(), path.stat()
        try:
            path.write_text(text, encoding="utf-8")
            os.utime(path, (times.st_atime, times.st_mtime + 10))  # what was compiled of the right one is not read
            told = self._forked([test.name for test in tests], len(tests), 20 + 3 * self._seconds(tests))
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if told is None:
            return Outcome("timed out", tests=len(tests), whole=whole)
        return Outcome("killed" if told else "survived", told, len(tests), whole)

    def _seconds(self, tests: list[Test]) -> float:
        fixtures = {name for test in tests for name in test.fixtures}
        return sum(test.seconds for test in tests) + sum(self.fixtures.get(name, 0.0) for name in fixtures)

    def _forked(self, names: list[str], count: int | None, seconds: float) -> str | None:
        """The first test that failed, "" where none did; None where it took too long. Without `count` it collects."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with contextlib.suppress(BaseException):
                os.setsid()
                _limit(seconds)
                found = _tested(self.tree, self.work, names, count)
                with open(writing, "wb") as file:
                    file.write(json.dumps(found).encode() + b"\n")
            os._exit(0)
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], 8 * seconds)  # others may be using the machine
            told = b""
            while ready and not told.endswith(b"\n") and (part := os.read(reading, 1 << 16)):
                told += part
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            os.close(reading)
        if told:
            return json.loads(told)
        if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
            return None
        return "the process of the tests died"


def _limit(seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Watcher:
    """Keeps the chosen tests in the chosen order, and the name of the first that failed."""

    def __init__(self, names: list[str]) -> None:
        self.order = {name: i for i, name in enumerate(names)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list) -> None:  # type: ignore[type-arg]
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda item: self.order[item.nodeid])

    def pytest_collectreport(self, report) -> None:  # type: ignore[no-untyped-def]
        if report.failed:
            self.failed = self.failed or f"{report.nodeid} (import)"

    def pytest_runtest_logreport(self, report) -> None:  # type: ignore[no-untyped-def]
        if report.failed:
            self.failed = self.failed or report.nodeid


def _tested(root: Path, work: Path, names: list[str], count: int | None) -> str:
    import pytest

    void = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(void, number)
    os.environ.update(tree.environment(root))
    os.chdir(root)
    sys.path[:] = [str(root), *(p for p in sys.path if p not in ("", str(tree.ROOT)))]
    rooms = {name.split("/")[0] for name in tree.sources()} | {tree.TESTS}
    for name in [name for name in sys.modules if name.split(".")[0] in rooms]:
        del sys.modules[name]
    importlib.invalidate_caches()
    watcher = _Watcher(names)
    sys.dont_write_bytecode = count is not None
    if count is not None:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    files = list(dict.fromkeys(name.split("::")[0] for name in names))
    options = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={work / 'pytest'}", f"--rootdir={root}"]
    if count is None:
        pytest.main([*options, "--collect-only", *files])
        return " ".join(name for name in sys.modules if name.split(".")[0] not in {*rooms, "__main__"})
    for part in (files[:1], files[1:]):  # most faults need no more than the first
        code = pytest.main([*options, *part], plugins=[watcher]) if part else 0
        if watcher.failed:
            return watcher.failed
        if code not in (0, 5):
            return f"pytest ended with {int(code)}"
    return ""


def planted(
    mutants: Iterable[Mutant], known: dict[str, Outcome], reach: Reach, work: Path, budget: float = BUDGET
) -> Iterator[Outcome]:
    """The outcome of each fault, as they come; `known` are earlier ones, by the names of faults."""
    new = Outcome("survived")
    asked = [(mutant, *chosen(reach, mutant, budget, known.get(mutant.name, new).by)) for mutant in mutants]
    planter = Planter(work, reach, sorted({test.file for _, tests, _ in asked for test in tests}))
    for mutant, tests, whole in asked:
        yield planter.run(mutant, tests, whole)
