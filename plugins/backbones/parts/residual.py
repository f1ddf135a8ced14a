"""The block of the Mamba family: x + dropout(mixer(norm(x))).

Shapes: b batch, l length, d model width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.stack import Pieces


class Residual(nn.Module):
    """A mixer, called as a block is, on the normed stream."""

    def __init__(self, dim: int, mixer: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)
        self.mixer: Any = mixer
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d) in x's precision."""
        y, state = self.mixer(self.norm(x), state, pieces)
        return x + self.dropout(y), state

    def init_state(self, batch: int, max_length: int) -> State:
        """The mixer's."""
        state: State = self.mixer.init_state(batch, max_length)
        return state


def step_bias(count: int) -> Tensor:
    """Biases (count,) before a softplus that make step sizes log-uniform from 1e-3 to 0.1."""
    low, high = math.log(1e-3), math.log(0.1)
    dt = torch.exp(low + (high - low) * torch.rand(count)).clamp(min=1e-4)
    return dt + torch.log(-torch.expm1(-dt))  # inverse of softplus
