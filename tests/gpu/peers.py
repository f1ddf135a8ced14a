"""Other people's models of the same size beside ours, by `bench`: training and decoding tokens a second by length."""

import contextlib
import importlib.util
import json
import statistics
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from supervisors.bench.peers import PEERS
from tests.gpu.processes import module

LIMIT = 150.0  # seconds, after which bench writes down what it has
_KERNELS = ("mamba_ssm", "causal_conv1d")
_PEERS = "mamba_ssm,transformers_mamba,transformers_llama,transformers_llama_static"
_SIZE = {
    "cuda": ("dim=1024", "layers=6", "length=4096", "batch=16", "lengths=1024,4096,16384,65536", "limit=2"),
    "cpu": ("dim=32", "layers=2", "length=32", "batch=2", "lengths=32,64", "limit=1"),
}


def measure(device: str) -> dict[str, Any]:
    """Rows of kind, name, precision, batch, length, tokens a second, with what model FLOPs are counted by; notes."""
    fast = all(importlib.util.find_spec(name) is not None for name in _KERNELS)
    with TemporaryDirectory() as name:
        found = _bench(Path(name), device, _PEERS)
        every = rows(found, "with kernels" if fast else "without kernels")
        if fast:  # the same once more where they cannot be imported
            for each in _KERNELS:
                (Path(name) / f"{each}.py").write_text("raise ImportError('left out to compare')\n")
            slow = _bench(Path(name), device, "transformers_mamba", PYTHONPATH=name)
            every += [row for row in rows(slow, "without kernels") if row["name"].startswith("transformers")]
    settings = {key: found["settings"][key] for key in ("dim", "layers", "vocabulary")}
    return {"rows": every, "notes": found["notes"], **settings}


def _bench(folder: Path, device: str, peers: str, **environment: str) -> dict[str, Any]:
    words = [*_SIZE[device], f"device={device}", "quick=true", "repeats=2", "backbones=mamba,transformer"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        module(["supervisors.run", "bench", *words, f"peers={peers}", f"out={folder}"], LIMIT, **environment)
    written = folder / "bench.json"
    if not written.exists():
        raise RuntimeError(f"bench had measured nothing after {LIMIT:.0f} s")
    found: dict[str, Any] = json.loads(written.read_text())
    return found


def rows(found: dict[str, Any], kernels: str) -> list[dict[str, Any]]:
    """Of bench.json, what was measured; `kernels` says how transformers' Mamba ran."""
    made = []
    for cell in found["cells"]:
        name = cell["subject"]
        if cell["kind"] not in ("train", "decode"):
            continue
        model = found["models"][name]
        shape = dict(pair.split(" ") for pair in model["shape"].split(", "))
        attends = name == "transformer" or (name in PEERS and PEERS[name].like == "transformer")
        measured = cell["measured"] or cell["length"]
        made.append(
            {
                "kind": cell["kind"],
                "name": f"{model['title']}, {kernels}" if name == "transformers_mamba" else model["title"],
                "precision": cell["precision"],
                "batch": cell["batch"],
                "length": measured,
                "rate": statistics.median(cell["samples"]) if cell["samples"] else None,
                "parameters": found["parameters"][name],
                "attention": int(shape["dim"]) * int(shape["layers"]) if attends else 0,
                "seen": (measured + 1) / 2,
                "bytes": cell["peak_bytes"],
                "limited": cell["limited"],
            }
        )
    return made
