"""The sanity ladder: tasks that say what they say, and a backbone that cannot pass what it must not."""

import torch
from torch import nn

from core.model.language_model import IGNORED
from hparams.backbones.gru import GruHParams
from plugins.ladder.climb import climb, table
from plugins.ladder.tasks import TASKS, copying, counting, induction, parity

GENERATOR = torch.Generator()


def test_answers_follow_from_what_is_seen() -> None:
    GENERATOR.manual_seed(0)
    ids, targets = counting(3, 40, GENERATOR)
    assert ((ids + 1) % 32 == targets).all()
    ids, targets = copying(3, 10, GENERATOR)
    assert (targets[:, :5] == IGNORED).all() and torch.equal(targets[:, 5:], ids[:, :5])
    ids, targets = induction(50, 12, GENERATOR)
    for row, answer in zip(ids.tolist(), targets[:, -1].tolist(), strict=True):
        assert row.count(31) == 2 and row[row.index(31) + 1] == answer
    ids, targets = parity(3, 9, GENERATOR)
    for row, answers in zip(ids.tolist(), targets.tolist(), strict=True):
        assert answers == [sum(row[: i + 1]) % 2 for i in range(9)]


class Memoryless(nn.Module):
    """A backbone of one token."""

    packs = True

    def __init__(self, hparams: GruHParams) -> None:
        super().__init__()
        self.dim = hparams.dim
        self.map = nn.Linear(hparams.dim, hparams.dim)

    def forward(self, x, state=None, starts=None):  # type: ignore[no-untyped-def]
        return self.map(x), state


def test_what_has_no_memory_counts_but_neither_recalls_nor_tracks() -> None:
    tasks = tuple(task for task in TASKS if task.name in ("counting", "copying", "parity"))
    rungs = {rung.task.name: rung for rung in climb(Memoryless, GruHParams(), steps=80, tasks=tasks)}
    assert rungs["counting"].passed and not rungs["copying"].passed and not rungs["parity"].passed
    assert rungs["parity"].accuracy < 0.6 and rungs["copying"].accuracy < 0.2
    assert "CANNOT" in table(list(rungs.values()))
