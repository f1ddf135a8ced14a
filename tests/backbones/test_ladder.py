"""The sanity ladder: tasks that say what they say, and a backbone that cannot pass what it must not."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from core.model.language_model import IGNORED
from hparams.backbones.gru import GruHParams
from plugins.ladder import climb as climb_module
from plugins.ladder.climb import Rung, climb, table
from plugins.ladder.tasks import TASKS, Task, copying, counting, induction, one_song, parity
from tests import ladder

GENERATOR = torch.Generator()


def shortened(steps: int, *names: str) -> tuple[Task, ...]:
    """Tasks of a few steps."""
    return tuple(replace(task, steps=steps) for task in TASKS if task.name in names)


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
    """Lengths and steps of training, length of scoring, and the least that passes; a song is the same whoever draws."""
    told = {task.name: (task.length, task.tested, task.steps) for task in TASKS}
    assert told == {
        **dict.fromkeys(("counting", "one_song"), (64, 64, 400)),
        "random_notes": (64, 64, 100),
        **dict.fromkeys(("copying", "induction", "parity"), (32, 32, 400)),
        "parity_longer": (32, 128, 400),
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

    def train(model: nn.Module, task: Any, seed: int) -> nn.Module:
        trained.append(task.name)
        return real(model, task, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(climb_module, "_train", train)
    monkeypatch.setattr(climb_module, "_score", lambda model, task, seed: (model.training, id(model)))
    tasks = shortened(1, "parity", "parity_longer")
    found = list(climb(build, GruHParams(dim=8, layers=1, dropout=0.5), tasks=tasks))  # type: ignore[arg-type]
    assert made == [(64, 2, 0.0)] and trained == ["parity"] and found[0] == found[1] and found[0][0] is False


def test_training_ends_once_ten_answers_in_a_row_were_certain() -> None:
    """A model that is wrong in its fifth step alone ends in its fifteenth."""
    losses = [1e-4] * 4 + [1.0] + [1e-4] * 90

    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.steps = nn.Parameter(torch.ones(())), 0

        def loss(self, ids: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, None]:
            self.steps += 1
            return self.weight.detach() * losses[self.steps - 1] + 0 * self.weight * (targets >= 0), None

    model: Any = Told()
    climb_module._train(model, shortened(50, "counting")[0], 0)
    assert model.steps == 15
    never: Any = Told()
    losses[:] = [0.004] * 100
    climb_module._train(never, shortened(50, "counting")[0], 0)
    assert never.steps == 50


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
    tasks = shortened(80, "counting", "copying", "parity")
    rungs = {rung.task.name: rung for rung in climb(Memoryless, GruHParams(), tasks=tasks)}
    assert rungs["counting"].passed and not rungs["copying"].passed and not rungs["parity"].passed
    assert rungs["parity"].accuracy < 0.6 and rungs["copying"].accuracy < 0.2
    assert "CANNOT" in table(list(rungs.values()))


class Player:
    """Knows one row of tokens by heart, or says always the same."""

    def __init__(self, song: list[int]) -> None:
        self.song = song

    def __call__(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        told = self.song[ids.shape[1] % len(self.song)]
        return nn.functional.one_hot(torch.full(ids.shape, told), 32).float(), None


def test_a_song_that_is_played_by_heart_is_flagged_and_other_music_is_not() -> None:
    song = one_song(1, 64, GENERATOR.manual_seed(5))[0][0].tolist()
    assert ladder.played(Player(song), song[0], 63) == song
    assert ladder.flagged(Player(song), 0)
    assert not ladder.flagged(Player(torch.randint(32, (64,), generator=GENERATOR.manual_seed(6)).tolist()), 0)


def test_a_row_takes_the_place_of_the_one_of_its_name() -> None:
    by_name = {task.name: task for task in TASKS}
    told = (("counting", 1.0, 0.0), ("random_notes", 0.03, 3.4657), ("random_notes", 0.03, 3.6), ("parity", 0.5, 0.7))
    rungs = [Rung(by_name[name], accuracy, nats, 0.5, None) for name, accuracy, nats in told]  # type: ignore[arg-type]
    line = ladder.row("gru,layers=3", rungs, True, 1234, 7, 0.567)
    assert line == "| `gru layers=3` | **100.0%** | **3.466 nats** | 3.600 nats | 50.0% | yes | 1,234 | 7 | 0.6 |"
    head = ladder.placed("", line).splitlines()
    assert (
        head[0].startswith("| backbone | counting |") and head[0].count("|") == head[1].count("|") and head[2] == line
    )
    page = ladder.placed(ladder.placed("", line), "| `gru` | x |")
    again = ladder.placed(page, "| `gru layers=3` | y |").splitlines()
    assert again[2:] == ["| `gru layers=3` | y |", "| `gru` | x |"]
