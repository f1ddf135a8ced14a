"""What a figure was measured on and with."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from plugins.manager import own_version
from supervisors.bench.peers import LIBRARIES

_TELLING = ("avx", "amx", "fma", "f16c", "sse4", "asimd", "sve", "bf16")  # beginnings of flags that matrices care about


def facts(device: str) -> dict[str, Any]:
    """Processor, flags, memory, versions, load."""
    info = _cpuinfo()
    flags = info.get("flags", info.get("Features", "")).split()
    return {
        "swaptunes": own_version(),
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "cores": os.cpu_count(),
        "flags": [flag for flag in flags if flag.startswith(_TELLING) or "bf16" in flag],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "memory_gib": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"torch": torch.__version__, **{name: _version(name) for name in LIBRARIES}},
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "openmp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
    }


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))  # the first processor's last
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, AttributeError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
