"""A step that keeps only what enters each block has the gradients of one that keeps everything, dropout included."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from plugins.manager import load_manager
from tests.test_foreign import supervisor

NAMES = sorted(load_manager().backbones)


class Found(NamedTuple):
    """Gradients of every parameter, and the bytes that autograd itself keeps for them."""

    gradients: dict[str, Tensor]
    kept: int


def gradients(model: nn.Module, x: Tensor, starts: Tensor) -> Found:
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(5)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        y = model(x, None, starts)[0]
    model.zero_grad()
    (y * torch.linspace(-1, 1, y.shape[-1])).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return Found(found, sum(kept.values()))


def all_and_little(name: str) -> tuple[Found, Found]:
    """A step of a backbone that keeps everything, and one that keeps what enters each block."""
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    torch.manual_seed(0)
    model = entry.build(entry.hparams(dim=32, layers=4, dropout=0.3)).train()
    x = torch.randn(2, 48, 32)
    starts = torch.zeros(2, 48, dtype=torch.bool)
    starts[0, 20] = True
    everything = gradients(model, x, starts)
    model.activation_checkpointing = True
    return everything, gradients(model, x, starts)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_same_and_less_is_kept(name: str) -> None:
    everything, little = all_and_little(name)
    assert little.gradients.keys() == everything.gradients.keys()
    for key, value in everything.gradients.items():
        torch.testing.assert_close(little.gradients[key], value, rtol=0, atol=0)
    assert little.kept < everything.kept / 3


def test_a_run_computes_its_blocks_twice_where_it_is_asked_to(tmp_path: Path, music_folder: Path) -> None:
    words = ("train.steps=3", "evaluate.every=3", "backbone.dropout=0.2")
    losses = []
    for asked in (False, True):
        run = supervisor(tmp_path / str(asked), music_folder, *words, f"train.activation_checkpointing={asked}".lower())
        calls: list[int] = []
        run.build_model()
        run.model.backbone.in_order[0].register_forward_hook(lambda *_, calls=calls: calls.append(0))
        losses.append([run.train_step(step)["loss"] for step in range(3)])
        assert len(calls) == (6 if asked else 3)
    assert losses[0] == losses[1]
