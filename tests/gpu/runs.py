"""Runs of the command: the first losses on the device beside the CPU's, and `mamba_remi` trained to its end."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu.processes import module

# A few steps whose losses are compared, and little after them.
COMPARED = ("backbone.dropout=0", "train.precision=fp32", "train.steps=12", "generate.count=1", "evaluate.tokens=2000")


def losses(device: str) -> dict[str, Any]:
    """Losses of the first steps on the CPU and on the device, in fp32 without dropout."""
    preset = "mamba_remi" if device == "cuda" else "tiny"
    with TemporaryDirectory() as name:
        first, _ = train(Path(name) / "cpu", preset, COMPARED, "cpu")
        second, _ = train(Path(name) / "device", preset, COMPARED, device)
    return {"preset": preset, **beside("cpu", first, "device", second)}


def whole(device: str) -> dict[str, Any]:
    """A preset from its first step to its evaluation: every hundredth loss, and what it came to."""
    began = time.monotonic()
    preset = "mamba_remi" if device == "cuda" else "tiny"
    with TemporaryDirectory() as name:
        found, end = train(Path(name), preset, [], device)
    steps = sorted({*range(0, len(found), 100), len(found) - 1})
    rows = [{"step": step + 1, "loss": found[step]} for step in steps]
    return {"preset": preset, "rows": rows, "wall": time.monotonic() - began, **end}


def beside(one: str, first: list[float], other: str, second: list[float]) -> dict[str, Any]:
    """Two runs' losses in rows by step, and the largest difference."""
    pairs = list(zip(first, second, strict=True))
    rows = [{"step": step, one: a, other: b} for step, (a, b) in enumerate(pairs, 1)]
    return {"rows": rows, "apart": max(abs(a - b) for a, b in pairs)}


def train(
    folder: Path,
    preset: str,
    words: Sequence[str],
    device: str,
    launcher: Sequence[str] = ("supervisors.run",),
    limit: float = 500,
    **more: str,
) -> tuple[list[float], dict[str, Any]]:
    """The loss of every step of a run in `folder`, and evaluation.json's numbers; `more` is of its environment."""
    environment = {"SWAPTUNES_RUNS": str(folder), "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", **more}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    module([*launcher, "--hparams", preset, *words], limit, **environment)
    lines = [json.loads(line) for line in next(folder.rglob("metrics.jsonl")).read_text().splitlines()]
    evaluation = json.loads(next(folder.rglob("evaluation.json")).read_text())
    rates = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    end = {key: evaluation[key] for key in ("minutes", "precision", "parameters", "steps")}
    end |= {"valid_loss": evaluation["best"]["valid_loss"], "rate": rates[len(rates) // 2]}
    return [line["loss"] for line in lines if "loss" in line], end
