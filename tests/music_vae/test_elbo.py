"""The arithmetic of the bound, against hand values, an integral, torch.distributions and a twin in NumPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hparams.supervisors import MusicVaeHParams
from supervisors.music_vae import elbo

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def integral(mean: float, scale: float) -> float:
    """The divergence of one latent number from N(0, 1), by the trapezoidal rule."""
    x = np.linspace(mean - 12 * scale, mean + 12 * scale, 200_001)
    q = np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    ratio = -0.5 * ((x - mean) / scale) ** 2 - math.log(scale) + 0.5 * x**2
    return float(np.trapezoid(q * ratio, x))


def agrees(divergence: Divergence) -> bool:
    mean, scale = torch.tensor([[1.0, 0.0, -0.5]]), torch.tensor([[1.0, 2.0, 0.3]])
    expected = sum(integral(*pair) for pair in zip(mean[0].tolist(), scale[0].tolist(), strict=True))
    return bool(torch.allclose(divergence(mean, scale), torch.tensor([expected]), atol=1e-4))


def test_the_divergence_by_hand_and_by_an_integral() -> None:
    found = elbo.divergence(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 2.0]]))
    assert found.tolist() == pytest.approx([0.5 + 1.5 - math.log(2)])
    assert agrees(elbo.divergence)


def test_the_divergence_is_that_of_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, scale = torch.randn(5, 7), torch.rand(5, 7) + 0.1
    expected = kl_divergence(Normal(mean, scale), Normal(torch.zeros(7), torch.ones(7))).sum(-1)
    torch.testing.assert_close(elbo.divergence(mean, scale), expected)


def log_variance(mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Draws with exp(v / 2) and tells the divergence of exp(2 v): two conventions at once."""
    v = 2 * scale.log()
    return 0.5 * (mean**2 + (2 * v).exp() - 1 - 2 * v).sum(-1)


def averaged(mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return elbo.divergence(mean, scale) / mean.shape[-1]


@pytest.mark.parametrize("fault", [log_variance, averaged])
def test_another_convention_is_caught(fault: Divergence) -> None:
    assert not agrees(fault)


def test_the_cost_of_a_window_by_hand() -> None:
    nats, divergence = torch.tensor([10.0, 10.0]), torch.tensor([3.0, 1.0])
    found = elbo.cost(nats, divergence, 0.5, free_bits=2.0)
    assert found.tolist() == pytest.approx([10 + 0.5 * (3 - 2 * math.log(2)), 10.0]), "below what is free, nothing"


def test_the_weight_rises_by_step() -> None:
    hparams = MusicVaeHParams(beta=0.2, beta_rate=0.99)
    found = [float(elbo.weight(hparams, torch.tensor(step))) for step in (0, 1, 100, 100_000)]
    assert found == pytest.approx([0, 0.2 * 0.01, 0.2 * (1 - 0.99**100), 0.2])
    assert float(elbo.weight(MusicVaeHParams(beta=0.5, beta_rate=0), torch.tensor(3))) == 0.5


def test_the_decoder_is_left_to_itself_by_an_inverse_sigmoid() -> None:
    hparams = MusicVaeHParams(scheduled_sampling=1000)
    steps = (0, 6908, 10**7)
    found = [float(elbo.drawn_share(hparams, torch.tensor(step))) for step in steps]
    assert found == pytest.approx([1 / 1001, 0.5, 1], abs=1e-3)
