"""Plants the faults of `kernels.toml` in the compiled kernels: `python -m tests.mutants.kernels [NUMBER...]`.

All of them are compiled at once, each behind a question of its number, in a copy of the tree; then the tests of the
kernels are run once for each number. With number 0 nothing is planted and everything has to pass. `--write` puts what
came of them into the page of the tests, where what is told of other faults stays.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.mutants import results, tree

_ASKED = """#ifndef PLANTED_FAULT
#define PLANTED_FAULT
#include <cstdlib>
inline const int planted_fault = std::getenv("PLANTED") ? std::atoi(std::getenv("PLANTED")) : 0;
#endif
"""
_MARKS = ("<!-- kernels: made by python -m tests.mutants.kernels --write -->", "<!-- end of kernels -->")
_NOTHING = "**nothing**"
_SECONDS = 900
_TOLD = tomllib.loads((Path(__file__).parent / "kernels.toml").read_text(encoding="utf-8"))
FAULTS = [(fault["file"], fault["right"], fault["wrong"]) for fault in _TOLD["fault"]]


def prepare(root: Path) -> None:
    """Plants all faults in a copy of the tree, and lets compiled libraries outlive a session of tests."""
    files = {path.name: path for path in sorted(root.rglob("*")) if path.suffix in (".h", ".cpp")}
    for number, (name, right, wrong) in enumerate(FAULTS, 1):
        text = files[name].read_text(encoding="utf-8")
        if text.count(right) != 1:
            sys.exit(f"fault {number}: {name} holds {text.count(right)} times, expected once: {right}")
        files[name].write_text(text.replace(right, wrong.replace("PLANTED", f"(planted_fault == {number})")))
    for name in {name for name, _, _ in FAULTS}:
        files[name].write_text(_ASKED + files[name].read_text(encoding="utf-8"), encoding="utf-8")
    for path in (root / "plugins").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if 'cache_folder() / "native"' in text:
            text = text.replace('cache_folder() / "native"', f"Path({str(root.parent / 'native')!r})")
            path.write_text(text.replace('"-O3"', '"-O1"'), encoding="utf-8")  # a fault needs no speed


def tests_of(root: Path, number: int) -> list[Path]:
    """The files of tests for the file that a fault is in, the nearest first."""
    place = next(root.rglob(FAULTS[number - 1][0]))
    grammar = place.suffix == ".cpp"
    files = [path for path in (root / tree.TESTS).rglob("test_native_*.py") if ("grammar" in path.name) == grammar]
    return sorted(files, key=lambda path: (place.parent.name not in path.name, path.name))


def noticed(root: Path, number: int, files: list[Path]) -> str:
    """The first test that fails with a fault, "" where none does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *map(str, files)]
    environment = {**tree.environment(root), "PLANTED": str(number)}
    environment.pop("OMP_NUM_THREADS")
    try:
        limit = _SECONDS if number else None  # without a fault all is compiled
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return "took too long"
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) \S*?(test_\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else f"pytest ended with {done.returncode}"


def written() -> dict[int, str]:
    """What the page of the tests tells of faults that are still the same."""
    lines = results.read(_MARKS).splitlines()
    told = {number: f"{_row(number)} " for number in range(1, len(FAULTS) + 1)}
    found = {n: line[len(row) : -2] for n, row in told.items() for line in lines if line.startswith(row)}
    return {number: "" if by == _NOTHING else by for number, by in found.items()}


def report(found: dict[int, str]) -> str:
    """A table of the faults that were planted, as Markdown."""
    lines = [
        f"{sum(map(bool, found.values()))} of {len(found)} noticed, {len(FAULTS) - len(found)} not planted yet.",
        "",
    ]
    lines += ["| file | fault | first noticed by |", "|---|---|---|"]
    lines += [f"{_row(number)} {by or _NOTHING} |" for number, by in sorted(found.items())]
    return "\n".join(lines)


def main() -> int:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(range(1, len(FAULTS) + 1))
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        root = tree.copied(Path(work) / "tree")
        prepare(root)
        if failed := noticed(root, 0, sorted({path for number in numbers for path in tests_of(root, number)})):
            sys.exit(f"without any fault, {failed}")
        found = {}
        for number in numbers:
            found[number] = noticed(root, number, tests_of(root, number))
            name, right, wrong = FAULTS[number - 1]
            print(f"{number} {name}: {found[number] or 'NOT NOTICED'}: {right} -> {wrong}", flush=True)
    if "--write" in sys.argv:
        results.write(report(written() | found), _MARKS)
    return 0 if all(found.values()) else 1


def _row(number: int) -> str:
    name, right, wrong = FAULTS[number - 1]
    return f"| {name} | `{_shown(right)}` → `{_shown(wrong)}` |"


def _shown(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
