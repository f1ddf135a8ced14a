"""What a run would take on this machine: parts, tokens, minutes and memory, from a few steps that are thrown away."""

import statistics
import sys
import time
from typing import Any

import torch
from torch import nn

from core.errors import HubError
from hparams.loading import dump
from supervisors.training.token_supervisor import TokenSupervisor, parameter_count

WARM, TIMED = 1, 3  # steps
_MB = 2**20


def plan(supervisor: Any) -> str:
    """Prepares the data, builds the model, times steps, and says what a whole run would be; the run's folder is not
    touched. HubError for a supervisor that counts no tokens."""
    if not isinstance(supervisor, TokenSupervisor):
        raise HubError(f'supervisor "{supervisor.hparams.supervisor.name}" counts no tokens; nothing can be planned')
    supervisor.load_data()
    supervisor.build_model()
    seconds = []
    for step in range(min(WARM + TIMED, supervisor.steps)):
        began = time.perf_counter()
        supervisor.train_step(step)
        seconds.append(time.perf_counter() - began)
    steps, step_seconds = supervisor.steps, statistics.median(seconds[WARM:] or seconds)
    counted = [supervisor.batches.counted(step) for step in range(steps)]
    lines = [dump(supervisor.hparams).rstrip(), ""]
    lines += [f"parameters   {parameter_count(supervisor.model):,}"]
    lines += [f"  {name:<11}{count:,}" for name, count in parts(supervisor.model).items()]
    lines += [
        f"data         {supervisor.store.count('train'):,} training pieces, "
        f"{int(supervisor.store.lengths('train').sum()):,} tokens; {supervisor.batches.steps_per_epoch:,.0f} steps "
        "an epoch",
        f"steps        {steps:,}, which count {sum(counted):,} tokens",
        f"time         {step_seconds * steps / 60:.1f} minutes of steps at {step_seconds:.2f} s each "
        f"({statistics.fmean(counted) / step_seconds:,.0f} tokens a second), validations besides",
        f"memory       {_memory(supervisor.ranks.device)}",
        "nothing was trained, and nothing was written but the prepared data",
    ]
    return "\n".join(lines)


def parts(model: nn.Module) -> dict[str, int]:
    """Parameters of each part of a model; what a later part shares with an earlier one is the earlier one's."""
    seen: set[int] = set()
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            top = name.partition(".")[0]
            found[top] = found.get(top, 0) + parameter.numel()
    return found


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / _MB:,.0f} MB of the GPU at the most, in these steps"
    try:
        import resource
    except ImportError:  # not on this system
        return "not known on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{peak / _MB:,.0f} MB at the most, in these steps"
