"""Freed memory is kept, and the heap asks for huge pages."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import resource
from core.model.memory import keep_freed_memory
assert keep_freed_memory() and keep_freed_memory()
import torch
def step():
    return [torch.ones(2 << 20) for _ in range(4)]
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print("faults", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
heap = open("/proc/self/smaps").read().split("[heap]")[1:]
print("flags", " ".join(part.split("VmFlags:")[1].splitlines()[0] for part in heap))
"""


def test_memory_is_kept_in_huge_pages() -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this system has no huge pages to ask for")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    faults, flags = (line.split(maxsplit=1)[1] for line in done.stdout.splitlines())
    assert int(faults) < 100  # 32 MiB are 8,192 small pages
    assert "hg" in flags.split()
