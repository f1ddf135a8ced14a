"""The later streams of a token: each is predicted from the hidden state and the ids of the streams before it.

So the joint probability of a whole token is a product, p(a) p(b | a) p(c | a, b) ..., exact whatever the streams have
to do with each other, as in the chained heads of Compound Word Transformer (arXiv 2101.02402, section 3.3) and MuMIDI.

Shapes: ... any, d model width, v vocabulary of the stream.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from core.model.linear import Linear

MULTIPLE = 8  # matrix units want dimensions that are multiples of this
INIT_STD = 0.02


def padded(vocab_size: int) -> int:
    """Rows of an embedding or a head."""
    return -(-vocab_size // MULTIPLE) * MULTIPLE


def init_table(weight: Tensor, vocab_size: int, std: float = INIT_STD) -> None:
    """Draws the rows of an embedding or a head; those that no id reaches are zero and stay so."""
    nn.init.normal_(weight, std=std)
    nn.init.zeros_(weight[vocab_size:].detach())


class Link(nn.Module):
    """One more stream: its embedding, its head, and what the id of the stream before it adds to the hidden state."""

    def __init__(self, dim: int, vocab_size: int, *, tie: bool, embedding_std: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(padded(vocab_size), dim)
        self.head = Linear(dim, padded(vocab_size))
        init_table(self.embedding.weight, vocab_size, embedding_std)
        init_table(self.head.weight, vocab_size)
        if tie:
            self.head.weight = self.embedding.weight
        self.known = Linear(dim, dim)
        self.out = Linear(dim, dim)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        """The hidden state (... d) once the id of the stream before is known, by its embedding (... d).

        The embedding is brought to unit size first: a new one is far smaller than a hidden state.
        """
        known = self.known(F.rms_norm(before, before.shape[-1:]))
        return hidden + self.out(F.gelu(hidden + known))
