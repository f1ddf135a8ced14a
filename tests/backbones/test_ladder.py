"""The sanity ladder: tasks that say what they say, and a backbone that cannot pass what it must not."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from core.model.language_model import IGNORED
from hparams.backbones.gru import GruHParams
from plugins.ladder import climb as climb_module
from plugins.ladder.climb import climb, table
from plugins.ladder.tasks import TASKS, copying, counting, induction, one_song, parity

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


def test_each_task_asks_what_it_says() -> None:
    """Lengths of training and of scoring, and the least that passes; a song is the same whoever draws."""
    told = {task.name: (task.length, task.tested) for task in TASKS}
    assert told == {
        **dict.fromkeys(("counting", "random_notes", "one_song"), (64, 64)),
        **dict.fromkeys(("copying", "induction", "parity"), (32, 32)),
        "parity_longer": (32, 128),
    }
    least = {"counting": 0.98, "one_song": 0.95, "copying": 0.9, "induction": 0.9, "parity": 0.95, "parity_longer": 0.9}
    for task in TASKS:
        if task.name == "random_notes":
            nats = [math.log(32) + by for by in (-0.11, -0.09, 0.09, 0.11)]
            assert [task.passed(0.0, one) for one in nats] == [False, True, True, False]
        else:
            assert task.passed(least[task.name], 9.0) and not task.passed(least[task.name] - 0.001, 0.0)
    one, other = (one_song(2, 10, torch.Generator().manual_seed(seed))[0] for seed in (1, 2))
    assert torch.equal(one, other) and torch.equal(one[0], one[1]) and len(set(one[0].tolist())) > 3


class Answers(nn.Module):
    """Gives each token the logits of a table; remembers what it was asked, and whether it was in training."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.asked = logits, []

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        self.asked.append((ids, self.training))
        return self.logits[ids], None


def test_a_rung_counts_right_answers_nats_and_chance() -> None:
    """Parity of a bit that is guessed to be the bit itself; beyond the trained length alone where rows are longer."""
    logits = torch.full((2, 32), -1e9)
    logits[0, :2], logits[1, :2] = torch.tensor([3.0, 1.0]).log(), torch.tensor([1.0, 3.0]).log()
    longer = next(task for task in TASKS if task.name == "parity_longer")
    model = Answers(logits)
    rung = climb_module._score(model, longer, 7)
    bits, _ = model.asked[0]
    drawn = parity(256, 128, torch.Generator().manual_seed(9))[0]
    assert torch.equal(bits, drawn) and not torch.equal(bits, parity(256, 128, torch.Generator().manual_seed(8))[0])
    rows = bits.numpy()
    truth = (rows.cumsum(1) % 2)[:, 32:].ravel()
    right = (truth == rows[:, 32:].ravel()).mean()
    assert rung.accuracy == pytest.approx(right)
    assert rung.nats == pytest.approx(-right * math.log(0.75) - (1 - right) * math.log(0.25), rel=1e-5)
    assert rung.chance == pytest.approx(max(truth.mean(), 1 - truth.mean()))
    assert not rung.passed and "CANNOT" in table([rung])
    sure = rung._replace(accuracy=1.0)
    assert sure.passed and "CANNOT" not in table([sure]) and " can " in table([sure])


def test_tasks_of_one_training_share_it_and_models_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    made, trained = [], []

    def build(hparams: GruHParams) -> nn.Module:
        made.append((hparams.dim, hparams.layers, hparams.dropout))
        return Memoryless(hparams)

    real = climb_module._train

    def train(model: nn.Module, task: Any, steps: int, seed: int) -> nn.Module:
        trained.append(task.name)
        return real(model, task, steps, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(climb_module, "_train", train)
    monkeypatch.setattr(climb_module, "_score", lambda model, task, seed: (model.training, id(model)))
    tasks = tuple(task for task in TASKS if task.name.startswith("parity"))
    found = list(climb(build, GruHParams(dim=8, layers=1, dropout=0.5), steps=1, tasks=tasks))  # type: ignore[arg-type]
    assert made == [(64, 2, 0.0)] and trained == ["parity"] and found[0] == found[1] and found[0][0] is False


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
