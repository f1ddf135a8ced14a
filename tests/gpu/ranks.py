"""Two ranks on one device beside one: the losses of a few steps in fp32 without dropout."""

import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu.runs import COMPARED, beside, train

_LIMIT = 45.0  # seconds of each launch


def measure(device: str) -> dict[str, Any]:
    """Losses of both, the largest difference, the backend that ran, and why another did not."""
    refused: dict[str, str] = {}
    with TemporaryDirectory() as name:
        one, _ = train(Path(name) / "one", "tiny", COMPARED, device, limit=_LIMIT)
        for backend in ("nccl", "gloo") if device == "cuda" else ("gloo",):
            try:
                two, _ = train(Path(name) / backend, "tiny", COMPARED, device, _launcher(backend), _LIMIT)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                refused[backend] = str(error)[:300]
            else:
                return {"preset": "tiny", "backend": backend, "refused": refused, **beside("one", one, "two", two)}
    raise RuntimeError("; ".join(f"{backend}: {why}" for backend, why in refused.items()))


def _launcher(backend: str) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}"]
    return [*launcher, "-m", "tests.gpu.rank", backend]
