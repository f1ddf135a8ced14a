"""Compiles a grammar's step for this machine once, and calls it on the memory of tensors.

The tables are those of the NumPy path. Their C++ declarations are generated from them, so that names, types and the
numbers of fields and kinds are told in Python only.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.log import warn_once
from datatools.storage import cache_folder

SWITCH = "SWAPTUNES_NATIVE"  # 0: never
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-g0")
_TYPES = {"int64": "int64_t", "int32": "int32_t", "bool": "bool"}


class Tables:
    """Arrays and numbers by name, as one C++ struct `Tables` in memory, and the C++ file `source` compiled for them.

    `constants` become C++ constants of the same names. `tensors` says how many `allowed` and `advance` take.
    """

    def __init__(
        self,
        source: Path,
        tables: Mapping[str, NDArray[Any] | int],
        constants: Mapping[str, int],
        tensors: tuple[int, int],
    ) -> None:
        self._kept = {n: np.ascontiguousarray(t) if isinstance(t, np.ndarray) else t for n, t in tables.items()}
        lines = [f"#include <{name}>" for name in ("cstdint", "cstring", "algorithm", "vector")]
        lines.append("struct Tables {")
        for name, table in self._kept.items():
            known = f"const {_TYPES[table.dtype.name]} *" if isinstance(table, np.ndarray) else "int64_t "
            lines.append(f"    {known}{name};")
        lines.append("};")
        lines += [f"constexpr int64_t {name} = {value};" for name, value in constants.items()]
        values = [t.ctypes.data if isinstance(t, np.ndarray) else int(t) for t in self._kept.values()]
        self._struct = np.array(values, dtype=np.int64)
        self._address = self._struct.ctypes.data
        library = _library("\n".join(lines), source)
        self._functions = {name: getattr(library, name) for name in ("allowed", "advance")}
        for function, count in zip(self._functions.values(), tensors, strict=True):
            function.restype = ctypes.c_int64
            function.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * count]

    def call(self, function: str, batch: int, *tensors: Tensor) -> None:
        """Calls `allowed` or `advance` on contiguous tensors; ValueError for an id outside the vocabulary."""
        assert tensors[0].is_cpu, "a grammar works on the CPU"
        bad = self._functions[function](self._address, batch, *[tensor.data_ptr() for tensor in tensors])
        if bad >= 0:
            raise ValueError(f"row {bad} goes on with an id that the vocabulary does not have")


def compiled(make: Callable[[], Tables]) -> Tables | None:
    """What `make` makes, or None where nothing may or can be compiled; says once why not."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return make()
    except OSError as error:
        warn_once(
            f"no compiled grammars ({error}): masks take a tenth of a millisecond longer a step. "
            f"Install a C++ compiler (g++ or clang++); {SWITCH}=0 silences this."
        )
        return None


def _library(declarations: str, source: Path) -> ctypes.CDLL:
    """OSError, in one line, where it cannot be had."""
    code = source.read_text(encoding="utf-8")
    found = _loaded(f'{declarations}\n#line 1 "{source.name}"\n{code}')
    if isinstance(found, str):
        raise OSError(found)
    return found


@cache
def _loaded(code: str) -> ctypes.CDLL | str:
    """The library of a C++ text, compiled first where nobody has, or why there is none."""
    try:
        compiler = _compiler()
        about = "\0".join((code, compiler, *_FLAGS, platform.platform(), sys.version))
        target = cache_folder() / "native" / f"grammar_{hashlib.sha256(about.encode()).hexdigest()[:16]}.so"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                made = Path(work) / target.name
                command = [compiler, *_FLAGS, "-x", "c++", "-", "-o", str(made)]
                subprocess.run(command, input=code, text=True, check=True, capture_output=True)
                os.replace(made, target)  # of two processes that compile, one comes second, and no harm is done
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        return next((line for line in lines if "error" in line), lines[0] if lines else type(error).__name__)[:200]


def _compiler() -> str:
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise OSError("no C++ compiler on the path")
