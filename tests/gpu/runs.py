"""Whole runs: the first losses on the device beside the CPU's, and `mamba_remi` trained to its end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_STEPS = 12


def measure(device: str) -> dict[str, Any]:
    """Losses of the first steps in fp32 without dropout, and what the whole run came to."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        same = ["backbone.dropout=0", "train.precision=fp32", f"train.steps={_STEPS}", "generate.count=1"]
        preset = "mamba_remi" if device == "cuda" else "tiny"
        first, where = _train(folder / "cpu", preset, [*same, "name=cpu"], "cpu")
        second, _ = _train(folder / "device", preset, [*same, "name=device"], device)
        result: dict[str, Any] = {"preset": preset, "cpu": first, "device": second, "data": where}
        if device == "cuda":
            began = time.monotonic()
            losses, end = _train(folder / "whole", preset, ["name=whole"], device)
            result |= {"whole": losses, "whole_seconds": time.monotonic() - began, "end": end}
    return result


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
    kept["tokens_per_second"] = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)[-1]
    return [line["loss"] for line in lines if "loss" in line], kept
