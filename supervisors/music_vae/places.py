"""Many places in one vector: each place has a pattern of its own, and what stands there is multiplied by it.

Patterns drawn at random are nearly at right angles, so that a sum over places holds them all apart, and a linear map
takes any one of them out again once the sum is multiplied by its pattern. A network that is told of one vector at all
places need then not learn to count first. The patterns are learned from there on.

Source: Gayler, "Vector symbolic architectures", arXiv cs/0412059 (multiply to bind, add to gather).
Shapes: b batch, m vectors a row, p places, i inputs, w width of the patterns, d width.
"""

from einops import rearrange
from torch import Tensor, nn

from core.model.linear import Linear

WIDER = 2  # patterns as wide as so many times what comes out
LOUD = 2.5  # what is told of the vector, against a token: it has more to say than the token before


class Gathered(nn.Module):
    """One vector out of what stands at each place."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.patterns = nn.Embedding(places, width)  # spread 1, and never decayed

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """x (b p w), of which the places `there` (b p) count, to (b w): as loud as one of them where all count."""
        return (x * self.patterns.weight * there[..., None]).sum(1) / self.patterns.num_embeddings**0.5


class Dealt(nn.Module):
    """What is told at each place of one vector."""

    def __init__(self, inputs: int, places: int, dim: int, std: float) -> None:
        super().__init__()
        self.patterns = nn.Embedding(places, WIDER * dim)
        self.first, self.last = Linear(inputs, WIDER * dim), Linear(WIDER * dim, dim)
        nn.init.normal_(self.first.weight, std=inputs**-0.5)
        nn.init.normal_(self.last.weight, std=LOUD * std * (WIDER * dim) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x (b m i) to (b m p d), louder than a token of spread `std` where x is as loud as noise."""
        told: Tensor = self.last(rearrange(self.first(x), "b m w -> b m 1 w") * self.patterns.weight)
        return told
