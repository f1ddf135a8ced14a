"""Compiles the operators once for this CPU and this PyTorch, and loads them."""

import hashlib
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from core.locks import locked
from core.log import logger
from core.model import linear
from datatools.storage import cache_folder

_HERE = Path(__file__).parent
_NAME = "swaptunes_native"
_WIDTH = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
# Threads are those of PyTorch's own OpenMP: compiled for it, but linked to no second one.
_THREADS = [] if sys.platform == "darwin" else ["-fopenmp"]
_MATH = ["-ffp-contract=fast", "-fno-math-errno"]  # nothing that would hide what is not a number
_FLAGS = ["-O3", "-march=native", *_WIDTH, *_THREADS, *_MATH, "-std=c++20", "-Wno-psabi", "-g0"]


def sources() -> list[Path]:
    """The C++ files and their headers, in one order."""
    return sorted(path for path in _HERE.rglob("*") if path.suffix in (".cpp", ".h"))


def _cpu() -> str:
    """What the compiler may use of this CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    about = {line.strip() for line in lines if line.startswith(("flags", "Features", "model name", "cpu family"))}
    return " ".join(sorted(about))


def folder() -> Path:
    """Where the library for these sources, this PyTorch, Python and CPU lies."""
    key = hashlib.sha256()
    for part in (torch.__version__, sysconfig.get_platform(), sys.version, _cpu(), *_FLAGS, os.environ.get("CXX", "")):
        key.update(part.encode() + b"\0")
    for path in sources():
        key.update(path.read_bytes() + b"\0")
    return cache_folder() / "native" / key.hexdigest()[:16]


def load() -> None:
    """Loads the operators into `torch.ops.swaptunes_native`; compiles them first where nobody has.

    Of several processes one compiles and the others wait. Raises whatever went wrong.
    """
    target = folder() / f"{_NAME}.so"
    if not target.exists():
        with locked(target.parent / "lock", "another process compiles the fused CPU kernels; waiting for it"):
            if not target.exists():
                _compile(target)
    torch.ops.load_library(target)
    linear.use(torch.ops.swaptunes_native.few_rows, torch.ops.swaptunes_native.transposed)


def _compile(target: Path) -> None:
    from torch.utils import cpp_extension  # slow to import, and needed once

    logger.info("compiling the fused CPU kernels for this machine, once (about half a minute) ...")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent) as work, _ninja_on_path():
        whole = Path(work) / "whole.cpp"  # one unit: most of the time goes into PyTorch's headers
        whole.write_text("".join(f'#include "{path}"\n' for path in sources() if path.suffix == ".cpp"))
        cpp_extension.load(
            _NAME,
            [str(whole)],
            extra_cflags=_FLAGS,
            extra_include_paths=[str(_HERE)],
            build_directory=work,
            is_python_module=False,
            is_standalone=False,
        )
        os.replace(Path(work) / f"{_NAME}.so", target)
    logger.info("compiled in %.0f s: %s", time.monotonic() - began, target)


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """A Python that was not activated has its tools beside it, off the path."""
    before = os.environ.get("PATH", "")
    if shutil.which("ninja") is None:
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
