"""Trains a small model of one backbone on each task of the ladder, from nothing, and scores it on fresh rows.

Shapes: b batch, l length.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from core.model.language_model import IGNORED, LanguageModel
from plugins.ladder.tasks import TASKS, VOCABULARY, Task

DIM, LAYERS, BATCH, LR = 64, 2, 64, 3e-3
CERTAIN = 0.003, 10  # nats and steps in a row: whoever answers so well so often learns nothing more


class Rung(NamedTuple):
    """What a backbone reached at one task."""

    task: Task
    accuracy: float
    nats: float
    chance: float  # the accuracy of the most frequent answer
    model: LanguageModel  # as it was trained

    @property
    def passed(self) -> bool:
        """Whether it can do the task."""
        return self.task.passed(self.accuracy, self.nats)


def climb(build: Callable[[Any], Any], hparams: Any, seed: int = 0, tasks: tuple[Task, ...] = TASKS) -> Iterator[Rung]:
    """One rung after the other; the backbone is made small: `dim`, `layers` and `dropout` of `hparams` are replaced.

    Tasks that differ in what is scored alone share their training.
    """
    small = replace(hparams, dim=DIM, layers=LAYERS, dropout=0.0)
    trained: dict[Any, LanguageModel] = {}
    for task in tasks:
        key = task.draw, task.length
        if key not in trained:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                trained[key] = _train(LanguageModel(build(small), VOCABULARY), task, seed)
        yield _score(trained[key], task, seed)


def _train(model: LanguageModel, task: Task, seed: int) -> LanguageModel:
    """The model after the task's steps, or fewer once it is certain, with warm-up over a tenth and a fall to zero."""
    generator = torch.Generator().manual_seed(seed + 1)
    exempt = [p for p in model.parameters() if p.dim() < 2 or getattr(p, "_no_weight_decay", False)]
    chosen = {id(parameter) for parameter in exempt}
    decayed = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": exempt, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95))
    steps, calm, (least, enough) = task.steps, 0, CERTAIN
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    for _ in range(steps):
        ids, targets = task.draw(BATCH, task.length, generator)
        loss = model.loss(ids, targets)[0].sum() / (targets != IGNORED).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        calm = calm + 1 if float(loss.detach()) < least else 0
        if calm == enough:
            break
    return model.eval()


@torch.inference_mode()
def _score(model: LanguageModel, task: Task, seed: int) -> Rung:
    """Over rows that no training has drawn; of a longer row, the part beyond the trained length alone."""
    ids, targets = task.draw(256, task.tested, torch.Generator().manual_seed(seed + 2))
    logits = model(ids)[0]
    asked = targets != IGNORED
    if task.tested > task.length:
        asked[:, : task.length] = False
    answers = targets[asked]
    right = float((logits[asked].argmax(-1) == answers).double().mean())
    nats = float(F.cross_entropy(logits[asked], answers))
    return Rung(task, right, nats, float(answers.bincount().max()) / len(answers), model)


def table(rungs: list[Rung]) -> str:
    """One line a rung."""
    lines = [f"{'task':<14} {'':<8} {'right':>6} {'chance':>7} {'nats':>7}  what it asks"]
    for rung in rungs:
        can = "can" if rung.passed else "CANNOT"
        task = rung.task
        lines.append(
            f"{task.name:<14} {can:<8} {rung.accuracy:6.1%} {rung.chance:7.1%} {rung.nats:7.3f}  {task.question}"
        )
    return "\n".join(lines)
