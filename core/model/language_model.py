"""A language model around any backbone: embedding, head, weight tying, padding of the vocabulary, loss.

Shapes: b batch, l length, d model width, v vocabulary, k streams; ids are (b l), of several streams (b l k).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import Backbone, State
from core.errors import HubError
from core.model.conditioning import Conditioning, Known
from core.model.linear import Linear
from core.model.streams import INIT_STD, Link, init_table, padded

IGNORED = -100  # a target that is not counted


class LanguageModel(nn.Module):
    """Ids in, logits of the next id out; what lies between is the backbone's business.

    Embedding and head have rows for a vocabulary padded to a multiple of 8. The rows beyond `vocab_size` are zero, no
    id reaches them and their logits are cut away, so that they are neither trained nor sampled.

    With several vocabularies a token has an id in each of so many streams. Their embeddings are summed, and the ids of
    the next token are predicted one after the other, each given those before it (`told`).

    `controls` are the widths of what may be known beside the tokens; position t knows what holds for the next token.
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: int | Sequence[int],
        *,
        tie: bool = True,
        controls: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.vocab_sizes = (vocabulary,) if isinstance(vocabulary, int) else tuple(vocabulary)
        self.vocab_size, *later = self.vocab_sizes
        rows = padded(self.vocab_size)
        self.embedding = nn.Embedding(rows, backbone.dim)
        self.backbone: Any = backbone  # a Backbone that is a module, which no type can say
        self.head = Linear(backbone.dim, rows)
        std = getattr(backbone, "embedding_std", INIT_STD)
        init_table(self.embedding.weight, self.vocab_size, std)
        init_table(self.head.weight, self.vocab_size)
        if tie:
            self.head.weight = self.embedding.weight
        links = (Link(backbone.dim, size, tie=tie, embedding_std=std) for size in later)
        self.chain: Any = nn.ModuleList(links)
        self.conditioning = Conditioning(backbone.dim, controls, std) if controls else None

    @property
    def streams(self) -> int:
        """Ids of a token."""
        return len(self.vocab_sizes)

    @property
    def positions(self) -> int | None:
        """The most tokens of a piece that the backbone has places for; None: as many as there are."""
        return getattr(self.backbone, "positions", None)

    def forward(
        self, ids: Tensor, state: State | None = None, starts: Tensor | None = None, known: Known | None = None
    ) -> tuple[Tensor, State | None]:
        """Maps ids to the logits (b l v) of each next id, the first of its token, and the state after ids."""
        hidden, state = self.read(ids, state, starts, known)
        return self.logits(hidden), state

    def read(
        self, ids: Tensor, state: State | None = None, starts: Tensor | None = None, known: Known | None = None
    ) -> tuple[Tensor, State | None]:
        """Maps ids to hidden states (b l d) and the state after ids.

        `state` and `starts` (b l) are the backbone's (see `core.contracts.backbone`).
        """
        if self.chain:
            x = self.embedding(ids[..., 0])
            for stream, link in enumerate(self.chain, 1):
                x = x + link.embedding(ids[..., stream])
        else:
            x = self.embedding(ids)
        if self.conditioning is not None:
            x = x + self.conditioning(known)
        given = self.backbone(x, state, starts)
        if not (isinstance(given, tuple) and len(given) == 2):
            what = type(given).__name__ + (f" of {len(given)}" if isinstance(given, tuple) else "")
            raise HubError(f"{self._backbone} gives {what}; expected hidden states and a state")
        hidden, state = given
        if hidden.shape != x.shape:
            raise HubError(f"{self._backbone} makes {tuple(hidden.shape)} of {tuple(x.shape)}; expected the same shape")
        return hidden, state

    @property
    def _backbone(self) -> str:
        return f"the backbone {type(self.backbone).__module__}.{type(self.backbone).__name__}"

    def logits(self, hidden: Tensor, stream: int = 0) -> Tensor:
        """Logits (... v) of a stream's next id, in float32 or wider; hidden (... d) was told of the streams before."""
        head = self.chain[stream - 1].head if stream else self.head
        logits: Tensor = head(hidden)[..., : self.vocab_sizes[stream]]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def told(self, hidden: Tensor, stream: int, ids: Tensor) -> Tensor:
        """What hidden (... d) becomes when the next token's ids (...) of `stream` are known."""
        known = self.chain[stream - 1].embedding if stream else self.embedding
        after: Tensor = self.chain[stream](hidden, known(ids))
        return after

    def loss(
        self,
        ids: Tensor,
        targets: Tensor,
        starts: Tensor | None = None,
        state: State | None = None,
        known: Known | None = None,
    ) -> tuple[Tensor, State | None]:
        """Cross-entropy in nats of each target, shaped like targets, and the state after ids; 0 where one is -100.

        Targets are given, not shifted here: `targets[:, t]` is what should follow `ids[:, t]`. Of several streams the
        sum over k is the joint nats of a token. The mean is the caller's, who knows how many tokens the whole step
        counts.
        """
        hidden, state = self.read(ids, state, starts, known)
        if not self.chain:
            return _nats(self.logits(hidden), targets), state
        parts = []
        for stream in range(self.streams):
            if stream:
                before = targets[..., stream - 1].clamp(min=0)  # where nothing is counted, nothing is told either
                hidden = self.told(hidden, stream - 1, before)
            parts.append(_nats(self.logits(hidden, stream), targets[..., stream]))
        return torch.stack(parts, dim=-1), state  # (b l k)

    def init_state(self, batch: int, max_length: int) -> State:
        """The backbone's state before the first token, for at most `max_length` tokens."""
        state: State = self.backbone.init_state(batch, max_length)
        return state

    def parameter_count(self) -> int:
        """Numbers that are stored: shared weights once, the padding of the vocabulary included."""
        return sum(parameter.numel() for parameter in self.parameters())


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (b l) of logits (b l v)."""
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return nats.view_as(targets)
