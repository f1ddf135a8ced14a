"""What is known beside the tokens: each control's vector, mapped linearly, is added to the input of the backbone.

A control that is not given adds a learned null vector instead, so that one model plays with and without (classifier-
free guidance, arXiv 2207.12598).

Shapes: b batch, l length, d model width, c width of all controls together, m controls.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.model.linear import Linear


class Known(NamedTuple):
    """What is known at each position: `values` (b l c) and which controls are given at all, `given` (b l m) bool.

    A length of 1 holds for all positions.
    """

    values: Tensor
    given: Tensor

    def part(self, positions: slice) -> "Known":
        """What is known at some of the positions."""
        return self if self.values.shape[1] == 1 else Known(self.values[:, positions], self.given[:, positions])


def known_of(batch: Mapping[str, Any], device: torch.device | None = None) -> Known | None:
    """What a batch says beside its tokens; None when it has no controls."""
    if "controls" not in batch:
        return None
    return Known(batch["controls"].to(device), batch["given"].to(device))


class Conditioning(nn.Module):
    """Maps what is known to vectors of the model's width."""

    def __init__(self, dim: int, widths: Sequence[int], std: float) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.maps = nn.ModuleList(Linear(width, dim) for width in widths)
        self.nulls = nn.ParameterList(nn.Parameter(torch.zeros(dim)) for _ in widths)
        for linear in self.maps:
            nn.init.normal_(linear.weight, std=std)  # type: ignore[arg-type]

    def forward(self, known: Known | None) -> Tensor:
        """The sum over all controls (b l d); (d) when nothing is known."""
        total: Tensor | None = None
        values = known.values.split(self.widths, dim=-1) if known is not None else [None] * len(self.widths)
        for number, (linear, null, value) in enumerate(zip(self.maps, self.nulls, values, strict=True)):
            added = null
            if known is not None:
                added = torch.where(known.given[..., number, None], linear(value), null)
            total = added if total is None else total + added
        assert total is not None, "there is a control at least"
        return total
