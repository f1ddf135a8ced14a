"""What a variational autoencoder pays: divergence, its weight, and the share of inputs that the decoder drew itself.

Sources: Kingma and Welling, arXiv 1312.6114; Roberts et al., arXiv 1803.05428, section 2; Bengio et al., 1506.03099.
Shapes: b windows, z latent numbers.
"""

import math

from torch import Tensor

from hparams.supervisors import MusicVaeHParams

NATS = math.log(2)  # in a bit


def divergence(mean: Tensor, scale: Tensor) -> Tensor:
    """Nats (b,) from N(mean, scale^2) to N(0, 1), summed over latent numbers; mean and scale (b z), scale > 0."""
    mean, scale = mean.float(), scale.float()
    return (0.5 * (mean.square() + scale.square() - 1) - scale.log()).sum(-1)


def weight(hparams: MusicVaeHParams, step: Tensor) -> Tensor:
    """The weight of the divergence at an optimizer step, counted from 0."""
    return hparams.beta * (1 - hparams.beta_rate**step)


def cost(nats: Tensor, divergence: Tensor, weight: Tensor | float, free_bits: float) -> Tensor:
    """What is minimized (b,): nats of the tokens (b,) and the weighted divergence (b,) beyond what is free."""
    return nats + weight * (divergence - free_bits * NATS).clamp(min=0)


def drawn_share(hparams: MusicVaeHParams, step: Tensor) -> Tensor:
    """The share of inputs that the decoder drew itself, an inverse sigmoid of the step."""
    k = hparams.scheduled_sampling
    return 1 - k / (k + (step / k).exp())
