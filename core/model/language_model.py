"""A language model around any backbone: embedding, head, weight tying, padding of the vocabulary, loss.

Shapes: b batch, l length, d model width, v vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import Backbone, State
from core.model.linear import Linear

IGNORED = -100  # a target that is not counted
_MULTIPLE = 8  # matrix units want dimensions that are multiples of this
_INIT_STD = 0.02


class LanguageModel(nn.Module):
    """Ids in, logits of the next id out; what lies between is the backbone's business.

    Embedding and head have rows for a vocabulary padded to a multiple of 8. The rows beyond `vocab_size` are zero, no
    id reaches them and their logits are cut away, so that they are neither trained nor sampled.
    """

    def __init__(self, backbone: Backbone, vocab_size: int, *, tie: bool = True) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        rows = -(-vocab_size // _MULTIPLE) * _MULTIPLE
        self.embedding = nn.Embedding(rows, backbone.dim)
        self.backbone: Any = backbone  # a Backbone that is a module, which no type can say
        self.head = Linear(backbone.dim, rows)
        stds = getattr(backbone, "embedding_std", _INIT_STD), _INIT_STD
        for weight, std in zip((self.embedding.weight, self.head.weight), stds, strict=True):
            nn.init.normal_(weight, std=std)
            nn.init.zeros_(weight[vocab_size:].detach())
        if tie:
            self.head.weight = self.embedding.weight

    def forward(
        self, ids: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """Maps ids (b l) to the logits (b l v) of each next id, in float32 or wider, and the state after ids.

        `state` and `starts` (b l) are the backbone's (see `core.contracts.backbone`).
        """
        hidden, state = self.backbone(self.embedding(ids), state, starts)
        logits = self.head(hidden)[..., : self.vocab_size]  # (b l v)
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), state

    def loss(
        self, ids: Tensor, targets: Tensor, starts: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State | None]:
        """Cross-entropy (b l) in nats of each target (b l) and the state after ids; 0 where a target is -100.

        Targets are given, not shifted here: `targets[:, t]` is what should follow `ids[:, t]`. The mean is the
        caller's, who knows how many targets the whole step counts.
        """
        logits, state = self(ids, state, starts)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        return nats.view_as(targets), state  # (b l)

    def init_state(self, batch: int, max_length: int) -> State:
        """The backbone's state before the first token, for at most `max_length` tokens."""
        state: State = self.backbone.init_state(batch, max_length)
        return state

    def parameter_count(self) -> int:
        """Numbers that are stored: shared weights once, the padding of the vocabulary included."""
        return sum(parameter.numel() for parameter in self.parameters())
