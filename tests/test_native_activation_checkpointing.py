"""As tests/backbones/test_activation_checkpointing.py, on the fused CPU kernels, some of which join all blocks."""

import pytest
import torch

from plugins.backbones.native import kernels  # noqa: F401 - asked by name when a test is set up
from tests.backbones.test_activation_checkpointing import NAMES, all_and_little

needs_kernels = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)


@needs_kernels
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_near_and_less_is_kept(name: str) -> None:
    everything, little = all_and_little(name)
    for key, value in everything.gradients.items():
        torch.testing.assert_close(little.gradients[key], value, rtol=1e-4, atol=1e-4 * float(value.abs().max()))
    assert little.kept < everything.kept / 3
