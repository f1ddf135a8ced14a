"""Which parameters decay, and the learning rate of each step."""

import math
from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, the rest does not; every trainable parameter is in exactly one group.

    Without decay: biases, norms and everything else of one dimension; what a backbone marks `_no_weight_decay`; and
    embeddings, because decay acts in every step but a rare token's row gets a gradient in few, so that it would fade
    between them (a head that shares the embedding's weights goes with it). Shared parameters count once, frozen ones
    not at all.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        exempt = parameter.ndim < 2 or id(parameter) in embeddings or getattr(parameter, "_no_weight_decay", False)
        (kept if exempt else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def learning_rate(step: int, *, lr: float, steps: int, warmup: float, floor: float) -> float:
    """The learning rate of optimizer step `step`, counted from 0, in a run of `steps`.

    Rises in equal parts over the first `warmup` share of the steps, the first step being one part above zero and the
    last of them at `lr`; then falls along half a cosine, which reaches `floor * lr` at the last step and stays there.
    A run of one step has nothing to fall to and takes `lr`.
    """
    rising = max(1, min(round(warmup * steps), steps - 1))
    if step < rising:
        return lr * (step + 1) / rising
    share = min(1.0, (step - rising + 1) / max(1, steps - rising))
    return lr * (floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2)
