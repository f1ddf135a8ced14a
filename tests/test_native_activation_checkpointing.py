"""As tests/backbones/test_activation_checkpointing.py, on the fused CPU kernels, some of which join all blocks."""

import pytest
import torch

from plugins.backbones.native import kernels
from plugins.manager import load_manager
from tests.backbones.test_activation_checkpointing import NAMES, gradients

needs_kernels = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)


@needs_kernels
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_near_and_less_is_kept(name: str) -> None:
    assert kernels.available()
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    torch.manual_seed(0)
    model = entry.build(entry.hparams(dim=32, layers=4, dropout=0.3)).train()
    x = torch.randn(2, 48, 32)
    starts = torch.zeros(2, 48, dtype=torch.bool)
    starts[0, 20] = True
    wanted, all_of_it = gradients(model, x, starts)
    model.activation_checkpointing = True
    found, little = gradients(model, x, starts)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-4 * float(value.abs().max()))
    assert little < all_of_it / 3
