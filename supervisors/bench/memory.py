"""The peak memory of a stretch of work, of this process or of its GPU.

On Linux the resident set's own high-water mark is set back first; elsewhere the peak since the start of the process
stands for it, so that what was freed before hides what comes after.
"""

import contextlib
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """From its making on: `bytes()` is the peak above what was held at that moment."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._base = torch.cuda.memory_allocated()
            return
        with contextlib.suppress(OSError):  # else the mark of the whole process stands, which is at least as high
            Path("/proc/self/clear_refs").write_text("5")
        self._base = _field("VmRSS") or _peak()

    def bytes(self) -> int:
        """The peak since, less what was held."""
        peak = torch.cuda.max_memory_allocated() if self._cuda else _field("VmHWM") or _peak()
        return max(0, peak - self._base)


def available(device: str) -> int | None:
    """Bytes that can still be had; None where the system does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _field(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak() -> int:
    import resource  # not everywhere

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
