"""Decay groups and the learning rate of each step."""

import math

import pytest
import torch
from torch import Tensor, nn

from core.model.language_model import LanguageModel
from core.model.optim import learning_rate, parameter_groups
from tests.test_model import Memory


class Zoo(nn.Module):
    """A backbone with one parameter of each kind."""

    packs = True
    dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.again = self.linear
        self.norm = nn.LayerNorm(8)
        self.conv = nn.Conv1d(8, 8, 4, groups=8)
        self.a_log = nn.Parameter(torch.zeros(8, 4))
        self.a_log._no_weight_decay = True  # type: ignore[attr-defined]
        self.positions = nn.Embedding(16, 8)
        self.frozen = nn.Parameter(torch.zeros(8, 8), requires_grad=False)

    def forward(self, x: Tensor, state: None = None, starts: Tensor | None = None) -> tuple[Tensor, None]:
        return self.linear(x), None


@pytest.mark.parametrize("tie", [True, False])
def test_groups(tie: bool) -> None:
    model = LanguageModel(Zoo(), 11, tie=tie)  # type: ignore[arg-type]
    groups = parameter_groups(model, 0.3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {group["weight_decay"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}
    assert found == {
        0.3: {"backbone.linear.weight", "backbone.conv.weight", *(() if tie else ("head.weight",))},
        0.0: {
            "embedding.weight",
            "backbone.positions.weight",
            "backbone.linear.bias",
            "backbone.norm.weight",
            "backbone.norm.bias",
            "backbone.conv.bias",
            "backbone.a_log",
        },
    }
    assert sum(len(group["params"]) for group in groups) == len(names) - 1, "each once, the frozen one not"


def test_groups_are_what_adamw_takes_and_decays() -> None:
    model = LanguageModel(Memory(), 11)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(parameter_groups(model, 0.5), lr=0.1).step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "backbone.mix.weight" else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_no_empty_group() -> None:
    assert [group["weight_decay"] for group in parameter_groups(nn.LayerNorm(4), 0.1)] == [0.0]


def test_learning_rate_golden() -> None:
    rates = [learning_rate(step, lr=2.0, steps=9, warmup=0.45, floor=0.1) for step in range(11)]
    half = [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * n / 5)) / 2) for n in range(1, 6)]
    assert rates == pytest.approx([0.5, 1.0, 1.5, 2.0, *half, 0.2, 0.2])


@pytest.mark.parametrize("steps", [2, 3, 10, 200, 1999])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3, 0.999])
@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
def test_learning_rate_rises_falls_and_ends_on_the_floor(steps: int, warmup: float, floor: float) -> None:
    rates = [learning_rate(step, lr=3e-4, steps=steps, warmup=warmup, floor=floor) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(3e-4) and rates[-1] == pytest.approx(floor * 3e-4, abs=1e-15)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert top == max(0, min(round(warmup * steps), steps - 1) - 1)
    assert all(rate > 0 for rate in rates[:-1])


def test_a_run_of_one_step_learns() -> None:
    assert learning_rate(0, lr=1e-3, steps=1, warmup=0.05, floor=0.0) == 1e-3
