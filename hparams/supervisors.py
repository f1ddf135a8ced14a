"""Hyper-parameters of the built-in supervisors."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(kw_only=True)
class LanguageModelHParams:
    """A model of the next token: any backbone, any tokenizer, one loss."""

    name: Literal["language_model"] = "language_model"


@dataclass(kw_only=True)
class PartHParams:
    """A backbone beside the run's own, which decodes."""

    # Name of a backbone, with its own defaults; empty: the decoder's, with its settings.
    backbone: str = ""
    # Width; 0: the decoder's.
    dim: int = 0
    # Number of layers; 0: the backbone's.
    layers: int = 0

    def __post_init__(self) -> None:
        if self.dim < 0 or self.layers < 0:
            raise ValueError(f"a part's dim is {self.dim} and its layers {self.layers}; expected 0 (as the decoder)")


@dataclass(kw_only=True)
class MusicVaeHParams:
    """A variational autoencoder of windows of bars, MusicVAE (Roberts et al., arXiv 1803.05428)."""

    name: Literal["music_vae"] = "music_vae"
    # Bars of a window, all of which one latent vector holds.
    bars: int = 2
    # Numbers of a latent vector.
    latent: int = 128
    # Whether a conductor tells the decoder bar by bar what to play, and the decoder begins anew at each bar; else the
    # latent vector tells it the same all the time.
    hierarchical: bool = False
    # What reads a window, one of its kind forward and one backward.
    encoder: PartHParams = field(default_factory=PartHParams)
    # What leads from bar to bar, where there is a hierarchy.
    conductor: PartHParams = field(default_factory=PartHParams)
    # Bits of a window's divergence that cost nothing.
    free_bits: float = 0.0
    # Largest weight of the divergence.
    beta: float = 0.2
    # That weight is beta (1 - beta_rate^step); 0: beta from the first step on.
    beta_rate: float = 0.999
    # Steps k of the inverse sigmoid 1 - k / (k + exp(step / k)), the share of inputs that the decoder drew itself; 0:
    # none, it is always given what was played.
    scheduled_sampling: int = 0

    def __post_init__(self) -> None:
        for key, fits, expected in (
            ("bars", self.bars >= 1, "at least 1"),
            ("latent", self.latent >= 1, "at least 1 number"),
            ("free_bits", self.free_bits >= 0, "0 (none) or more bits"),
            ("beta", self.beta >= 0, "0 (no divergence) or more"),
            ("beta_rate", 0 <= self.beta_rate < 1, "a rate from 0 to below 1"),
            ("scheduled_sampling", self.scheduled_sampling >= 0, "0 (never) or a number of steps"),
        ):
            if not fits:
                raise ValueError(f"supervisor.{key} is {getattr(self, key)!r}; expected {expected}")
