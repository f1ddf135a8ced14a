"""What a run would be, before it is one: settings, data, parameters by part, steps, minutes and memory here."""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hparams.base import HParams
from hparams.loading import dump
from plugins.manager import Manager

WARM, TIMED = 2, 4  # steps of the trial, whose weights are thrown away


def plan(hparams: HParams, folder: Path, manager: Manager) -> str:
    """Prepares the data, tries a few steps in a folder that is dropped, and tells; `folder` is left as it is."""
    with tempfile.TemporaryDirectory() as place:
        supervisor = manager.supervise(hparams, Path(place) / "plan")
        supervisor.load_data()
        supervisor.build_model()
        seconds, tokens = [], []
        for step in range(WARM + TIMED):
            began = time.perf_counter()
            tokens.append(supervisor.train_step(step)["tokens"])
            seconds.append(time.perf_counter() - began)
        steps = supervisor.steps
        rate = statistics.median(seconds[WARM:])
        seen = round(statistics.mean(tokens) * steps)
        lines = [
            dump(hparams).rstrip(),
            "",
            supervisor.prepared(),
            *_parts(getattr(supervisor, "model", None)),
            f"steps        {steps:,}" + ("" if hparams.train.steps else " (train.steps=0: chosen from the data)"),
            f"tokens       about {seen:,} counted, {round(statistics.mean(tokens)):,} a step",
            f"minutes      about {steps * rate / 60:.1f} of training here ({rate:.2f} s a step, median of {TIMED}); "
            "validation, evaluation and generation come on top",
            f"memory       {_peak() / 2**20:,.0f} MiB at the most in {WARM + TIMED} steps",
            f"folder       {folder}" + (" (there already: train goes on with it)" if folder.exists() else ""),
        ]
    return "\n".join(lines)


def _parts(model: Any) -> list[str]:
    """Parameters of each child of the model, shared ones counted where they come first."""
    if model is None:
        return []
    known: set[int] = set()
    counts = []
    for name, child in model.named_children():
        own = [parameter for parameter in child.parameters() if id(parameter) not in known]
        known |= {id(parameter) for parameter in own}
        counts.append((name, sum(parameter.numel() for parameter in own)))
    told = ", ".join(f"{name} {count:,}" for name, count in counts)
    return [f"parameters   {sum(count for _, count in counts):,} ({told})"]


def _peak() -> float:
    """Bytes: of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else most * 1024)
