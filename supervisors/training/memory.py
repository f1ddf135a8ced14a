"""Whether a model fits in memory, estimated before it is built.

Counted is what training cannot do without: weights, gradients and AdamW's two moments, in float32; activations come on
top. Under several processes only the weights count, as engines may spread the rest.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from core.errors import HubError

ALONE, SPREAD = 16, 4  # bytes a parameter
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def insist_fitting(make: Callable[[], nn.Module], device: torch.device, processes: int) -> None:
    """HubError, with the estimate, where `make()`'s model cannot be trained in the memory of `device`."""
    there = memory(device)
    try:
        with torch.device("meta"):  # shapes, no numbers
            parameters = sum(parameter.numel() for parameter in make().parameters())
    except (NotImplementedError, RuntimeError, HubError):  # it computes with its weights while it is built
        return
    need = parameters * (ALONE if processes == 1 else SPREAD)
    if there is not None and need > there:
        raise HubError(
            f"the model would have {parameters:,} parameters and need at least {need / 2**30:,.1f} GiB to train; "
            f"there are {there / 2**30:,.1f} GiB; make backbone.dim or backbone.layers smaller"
        )


def memory(device: torch.device) -> int | None:
    """Bytes that the device has, or that this process may take of them; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    except OSError:
        return None
    for path in _LIMITS:
        try:
            found.append(int(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return min(found, default=None)
