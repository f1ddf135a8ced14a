"""A copy of the tree to plant faults in: nobody's files are touched, and child processes see the fault as well."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".mutants"  # what is remembered between calls; git ignores it
TESTS = "tests"


def listed() -> list[str]:
    """The files of the tree that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return sorted(name for name in found.split("\0") if name and (ROOT / name).is_file())


def sources() -> list[str]:
    """The modules of the product: every Python file in a package beside the tests'."""
    return [n for n in listed() if n.endswith(".py") and not n.startswith(f"{TESTS}/") and "/" in n]


def copied(to: Path) -> Path:
    """Lays a copy of the tree in a folder, times kept, so that what was compiled of it stays good."""
    for name in listed():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return to


def environment(tree: Path) -> dict[str, str]:
    """What a process needs to import from the copy."""
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
