"""Runs of the command: the first losses on the device beside the CPU's, and `mamba_remi` trained to its end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_STEPS = 12


def losses(device: str) -> dict[str, Any]:
    """Losses of the first steps on the CPU and on the device, in fp32 without dropout."""
    words = [
        "backbone.dropout=0",
        "train.precision=fp32",
        f"train.steps={_STEPS}",
        "generate.count=1",
        "evaluate.tokens=2000",
    ]
    preset = "mamba_remi" if device == "cuda" else "tiny"
    with TemporaryDirectory() as name:
        first, _ = _train(Path(name) / "cpu", preset, [*words, "name=cpu"], "cpu")
        second, _ = _train(Path(name) / "device", preset, [*words, "name=device"], device)
    apart = max(abs(a - b) for a, b in zip(first, second, strict=True))
    return {"preset": preset, "cpu": first, "device": second, "apart": apart}


def whole(device: str) -> dict[str, Any]:
    """A preset from its first step to its evaluation: every hundredth loss, and what it came to."""
    began = time.monotonic()
    preset = "mamba_remi" if device == "cuda" else "tiny"
    with TemporaryDirectory() as name:
        found, end = _train(Path(name), preset, ["name=whole"], device)
    steps = {step: found[step] for step in sorted({*range(0, len(found), 100), len(found) - 1})}
    return {"preset": preset, "losses": steps, "wall": time.monotonic() - began, **end}


def _train(folder: Path, preset: str, words: list[str], device: str) -> tuple[list[float], dict[str, Any]]:
    """The loss of every step, and evaluation.json's numbers."""
    environment = {**os.environ, "SWAPTUNES_RUNS": str(folder)}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        [sys.executable, "-m", "supervisors.run", "--hparams", preset, *words],
        env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{preset} on {device}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    metrics = next(folder.rglob("metrics.jsonl"))
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    evaluation = json.loads(next(folder.rglob("evaluation.json")).read_text())
    kept = {key: evaluation[key] for key in ("minutes", "precision", "parameters", "best") if key in evaluation}
    rates = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    kept["tokens_per_second"] = rates[len(rates) // 2]
    return [line["loss"] for line in lines if "loss" in line], kept
