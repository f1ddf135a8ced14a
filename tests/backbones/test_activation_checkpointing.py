"""A step that keeps only what enters each block has the gradients of one that keeps everything, dropout included."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from plugins.backbones.stack import Stack
from plugins.manager import load_manager

NAMES = sorted(load_manager().backbones)


def gradients(model: nn.Module, x: Tensor, starts: Tensor) -> tuple[dict[str, Tensor], int]:
    """Of every parameter, and the bytes that autograd itself keeps for them."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(5)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        y = model(x, None, starts)[0]
    model.zero_grad()
    (y * torch.linspace(-1, 1, y.shape[-1])).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}, sum(
        kept.values()
    )


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_same_and_less_is_kept(name: str) -> None:
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    torch.manual_seed(0)
    model = entry.build(entry.hparams(dim=32, layers=4, dropout=0.3)).train()
    assert isinstance(model, Stack)
    x = torch.randn(2, 48, 32)
    starts = torch.zeros(2, 48, dtype=torch.bool)
    starts[0, 20] = True
    wanted, all_of_it = gradients(model, x, starts)
    model.activation_checkpointing = True
    found, little = gradients(model, x, starts)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    assert little < all_of_it / 3
