"""Runs of the smallest model, one after another in the processes of one launcher, for starting them costs most.

`python -m tests.rank_worker JOBS.json`, alone or under torchrun. A job is {"run": folder, "words": [key=value, ...],
"stop": step or 0}; what each rank saw of it, or its error, goes to `RUN.rank_R.json`, the last logits to `RUN.logits`.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoint import save_weights
from core.errors import HubError
from core.files import write_json
from hparams.loading import load
from plugins.manager import load_manager
from supervisors.language_model import LanguageModelSupervisor
from supervisors.training import process_group
from supervisors.training.base import Interrupted
from supervisors.training.engine import DeepSpeedEngine

IDS = torch.arange(48).view(2, 24) % 40 + 4  # (b l), any ids will do


class Watched(LanguageModelSupervisor):
    """Notes the rows that this rank trains on and how far the first step moved what does not decay."""

    stop = 0

    def build_model(self) -> None:
        super().build_model()
        self.rows: list[list[Any]] = []
        self.rate_used = 0.0
        whole = self.batches.batch

        def noted(step: int, micro: int, replica: int, replicas: int) -> dict[str, Tensor]:
            batch = whole(step, micro, replica, replicas)
            self.rows += [[step, micro, replica, hashlib.sha256(row.numpy()).hexdigest()] for row in batch["ids"]]
            return batch

        self.batches.batch = noted  # type: ignore[method-assign]

    def undecayed(self) -> Tensor:
        """All vectors of the model in one, which AdamW moves by its rate in the first step and by nothing else."""
        return torch.cat([value.clone().flatten() for value in self.weights().values() if value.ndim == 1])

    def train_step(self, step: int) -> dict[str, float]:
        before = None if step else self.undecayed()
        values = super().train_step(step)
        if before is not None:
            self.rate_used = float((self.undecayed() - before).abs().max())
        if step + 1 == self.stop:
            signal.raise_signal(signal.SIGTERM)
        return values

    def settings_used(self) -> dict[str, Any]:
        """What the engine itself says of its settings."""
        if not isinstance(self.engine, DeepSpeedEngine):
            return {}
        engine = self.engine.engine
        return {
            "rows": engine.train_batch_size(),
            "rows_of_micro_batch": engine.train_micro_batch_size_per_gpu(),
            "accumulate": engine.gradient_accumulation_steps(),
            "clip": engine.gradient_clipping(),
            "bf16": engine.torch_autocast_enabled(),
            "stage": engine.zero_optimization_stage(),
            "rates": [group["lr"] for group in engine.optimizer.param_groups],
        }


def work(job: dict[str, Any]) -> None:
    """Trains one job to its end or its stop, and writes down what was seen."""
    manager = load_manager()
    run = Path(job["run"])
    hparams = load("tiny", job["words"], preset=manager.preset, section=manager.section)
    supervisor = Watched(hparams, manager, run)
    supervisor.stop = job["stop"]
    written.clear()
    rank = supervisor.ranks.rank
    try:
        supervisor.lock()
        supervisor.train()
    except Interrupted:
        assert supervisor.step == supervisor.stop
    except HubError as error:
        write_json(Path(f"{run}.rank_{rank}.json"), {"error": str(error)})
        return
    finally:
        supervisor.folder.unlock()
    seen = {"rows": supervisor.rows, "rate_used": supervisor.rate_used, "settings": supervisor.settings_used()}
    files = sorted({path for path in written if path.startswith(str(run))})
    write_json(Path(f"{run}.rank_{rank}.json"), {**seen, "written": files})
    supervisor.model.eval()
    with torch.no_grad():
        logits, _ = supervisor.model(IDS)
    if supervisor.ranks.first:
        save_weights({"logits": logits}, f"{run}.logits")


written: list[str] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: files that this process opens to write, makes or renames."""
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if opened or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        written.append(str(arguments[0]))


if __name__ == "__main__":
    sys.addaudithook(note)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        work(job)
    process_group.stop()
