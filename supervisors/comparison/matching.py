"""Makes presets comparable: equal parameters by width, equal tokens or equal time by steps."""

import json
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.files import write_json
from core.log import logger
from datatools.batching.batches import Batches
from hparams.base import HParams
from hparams.loading import plain
from supervisors.training.token_supervisor import TokenSupervisor, parameter_count

TOLERANCE = 0.02
REACH = 32  # widths to either side that are tried
WARM, TIMED = 4, 8  # steps of a timed trial


def match_parameters(supervisor: TokenSupervisor, target: int) -> nn.Module | None:
    """Sets the backbone's width so that the model has `target` parameters within 2 % (0: as it is).

    Returns the model without its numbers, on the meta device. Where no width comes that near, a layer more or less is
    tried as well; None when none of these does.
    """
    model = _built(supervisor, supervisor.hparams.backbone)
    if not target or abs(parameter_count(model) / target - 1) <= TOLERANCE:
        return model
    for depth in _depths(supervisor):
        found = _nearest_width(supervisor, depth, target)
        if found and abs(found[1] / target - 1) <= TOLERANCE:
            supervisor.hparams.backbone = found[0]
            return _built(supervisor, found[0])
    return None


def common_size(supervisors: Sequence[TokenSupervisor], target: int) -> int | None:
    """The parameters nearest to `target` that all of these can have within 2 %, None where there are none."""
    sizes = [
        [count for depth in _depths(supervisor) for _, count in _near(supervisor, depth, target)]
        for supervisor in supervisors
    ]

    def shared(size: int) -> bool:
        return all(any(abs(count / size - 1) <= TOLERANCE for count in counts) for counts in sizes)

    return min(
        filter(shared, {size for counts in sizes for size in counts}), key=lambda size: abs(size - target), default=None
    )


def _depths(supervisor: TokenSupervisor) -> list[int]:
    layers = supervisor.hparams.backbone.layers
    return [depth for depth in (layers, layers + 1, layers - 1, layers + 2) if depth]


def _nearest_width(supervisor: TokenSupervisor, layers: int, target: int) -> tuple[Any, int] | None:
    """The backbone of so many layers that comes nearest to `target` parameters, and its count."""

    # Of the widths that are near enough, one that vector units like.
    def fit(item: tuple[Any, int]) -> tuple[bool, int, float]:
        off = abs(item[1] / target - 1)
        return off > TOLERANCE, -math.gcd(item[0].dim, 16) if off <= TOLERANCE else 0, off

    return min(_near(supervisor, layers, target), key=fit, default=None)


def _near(supervisor: TokenSupervisor, layers: int, target: int) -> list[tuple[Any, int]]:
    """Backbones of so many layers around the width that comes nearest to `target` parameters, and their counts."""
    own = supervisor.hparams.backbone

    @cache
    def at(dim: int) -> tuple[Any, int] | None:
        try:
            backbone = replace(own, dim=dim, layers=layers)
            return backbone, parameter_count(_built(supervisor, backbone))
        except Exception:  # a width that it refuses, say no multiple of its heads; with what error is the plugin's
            return None

    width = own.dim
    for _ in range(8):  # most parameters lie in matrices of width x width
        found = next((item for dim in range(width, width + REACH) if (item := at(dim))), None)
        if found is None:
            return []
        width = max(1, round(found[0].dim * math.sqrt(target / found[1])))
    return [item for dim in range(max(1, width - REACH), width + REACH + 1) if (item := at(dim))]


def _built(supervisor: TokenSupervisor, backbone: Any) -> nn.Module:
    """The run's model with this backbone, shapes alone."""
    hparams = copy(supervisor.hparams)
    hparams.backbone = backbone
    with torch.device("meta"):
        return supervisor.make_model(hparams)


def steps_for(tokens: int, batches: Batches) -> int:
    """Optimizer steps after which at least `tokens` targets were counted."""
    seen = steps = 0
    while seen < tokens:
        seen += batches.counted(steps)
        steps += 1
    return steps


def tokens_of(steps: int, batches: Batches) -> int:
    """Targets that are counted in so many steps."""
    return sum(batches.counted(step) for step in range(steps))


def tokens_per_minute(train: Callable[[HParams, Path], None], hparams: HParams, memory: Path) -> float:
    """The rate of a short trial, which `train` runs in a folder of its own that is then dropped.

    `memory` is a file that keeps it: whoever goes on with a comparison goes on with the same steps.
    """
    asked = plain(hparams)
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["hparams"] == json.loads(json.dumps(asked)):
            return float(known["tokens_per_minute"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    trial = deepcopy(hparams)
    trial.name, trial.train.steps = "trial", WARM + TIMED
    with tempfile.TemporaryDirectory() as folder:
        train(trial, Path(folder))
        lines = [json.loads(line) for line in (Path(folder) / "trial" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line][WARM:]
    rate = statistics.median(rates) * 60
    logger.info("%s: %.0f tokens a minute in a trial of %d steps", hparams.name, rate, TIMED)
    write_json(memory, {"tokens_per_minute": rate, "hparams": asked})
    return rate
