"""MusicVAE around any backbone: a window of bars to a latent vector and back.

The decoder is a language model that is told of the latent vector at every token. With a hierarchy a conductor tells it
instead, bar by bar, and each bar is a piece of its own: nothing but the token before passes its line. Where the paper
sets the first state of an LSTM, here something is added to the inputs, which any backbone has; and the conductor, which
gets no input there, gets its bar's number here, without which attention could not tell one bar from another.

Source: Roberts et al., arXiv 1803.05428, section 3.
Shapes: b windows, m bars of a window, t tokens of a bar, n = m t, z latent numbers, d width, c width of the conductor,
v vocabulary.
"""

import math
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.language_model import LanguageModel
from core.model.linear import Linear
from core.model.streams import INIT_STD, init_table

# A new encoder tells windows apart (gain of the map to means) with little noise (softplus of the bias of scales). The
# authors begin with means near 0 under a scale of 0.69, from which the decoder first learns to hear nothing.
GAIN, QUIET = 4.0, -2.0


class Encoder(nn.Module):
    """Reads a window both ways: what is known at either end, side by side, tells a normal distribution."""

    def __init__(self, forth: Any, back: Any, vocabulary: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, forth.dim)
        init_table(self.embedding.weight, vocabulary, getattr(forth, "embedding_std", INIT_STD))
        self.forth, self.back = forth, back
        self.mean, self.scale = nn.Linear(2 * forth.dim, latent), nn.Linear(2 * forth.dim, latent)
        nn.init.xavier_uniform_(self.mean.weight, gain=GAIN)
        nn.init.zeros_(self.mean.bias)
        nn.init.normal_(self.scale.weight, std=INIT_STD)
        nn.init.constant_(self.scale.bias, QUIET)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale (b z) of windows ids (b n), of which the first `lengths` (b,) tokens are music."""
        places = torch.arange(ids.shape[1], device=ids.device)
        reversed_ = ids.gather(1, (lengths[:, None] - 1 - places).clamp(min=0))  # padding stays on the right
        last = (lengths - 1)[:, None, None]
        ends = [
            hidden.gather(1, last.expand(-1, -1, hidden.shape[-1]))[:, 0]
            for hidden, _ in (self.forth(self.embedding(ids)), self.back(self.embedding(reversed_)))
        ]
        both = torch.cat(ends, dim=-1)
        return self.mean(both), F.softplus(self.scale(both))


class Conductor(nn.Module):
    """What the decoder is told in each bar."""

    def __init__(self, backbone: Any, bars: int, latent: int, dim: int, std: float) -> None:
        super().__init__()
        self.first = nn.Linear(latent, backbone.dim)
        self.numbers = nn.Embedding(bars, backbone.dim)
        nn.init.normal_(self.numbers.weight, std=getattr(backbone, "embedding_std", INIT_STD))
        self.backbone = backbone
        self.told = Linear(backbone.dim, dim)
        nn.init.normal_(self.told.weight, std=std / math.sqrt(backbone.dim))

    def forward(self, latent: Tensor) -> Tensor:
        """latent (b z) -> (b m d)."""
        hidden, _ = self.backbone(self.first(latent).tanh()[:, None] + self.numbers.weight)  # (b m c)
        told: Tensor = self.told(hidden)
        return told


class MusicVae(nn.Module):
    """Encoder and decoder. `conductor` is a backbone over bars, None without a hierarchy."""

    packs = False  # a window a row

    def __init__(
        self,
        encoders: tuple[Any, Any],
        decoder: Any,
        conductor: Any | None,
        *,
        vocabulary: int,
        bos_id: int,
        bars: int,
        bar_tokens: int,
        latent: int,
        tie: bool,
    ) -> None:
        super().__init__()
        self.bars, self.bar_tokens, self.latent, self.bos_id = bars, bar_tokens, latent, bos_id
        self.encoder = Encoder(*encoders, vocabulary, latent)
        self.decoder = LanguageModel(decoder, vocabulary, tie=tie)
        std = getattr(decoder, "embedding_std", INIT_STD)
        self.conductor = Conductor(conductor, bars, latent, decoder.dim, std) if conductor is not None else None
        if self.conductor is None:
            self.told = Linear(latent, decoder.dim)
            nn.init.normal_(self.told.weight, std=std / math.sqrt(latent))  # no louder than a token

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.bars * self.bar_tokens

    def plan(self, latent: Tensor) -> Tensor:
        """What is added to the input of every token (b n d)."""
        if self.conductor is None:
            return repeat(self.told(latent), "b d -> b n d", n=self.tokens)
        return repeat(self.conductor(latent), "b m d -> b (m t) d", t=self.bar_tokens)

    def inputs(self, ids: Tensor) -> Tensor:
        """The token before each of ids (b n), across bar lines too; bos before the first."""
        return torch.cat([torch.full_like(ids[:, :1], self.bos_id), ids[:, :-1]], dim=1)

    def decode(self, inputs: Tensor, latent: Tensor) -> Tensor:
        """Logits (b n v) of windows whose every token is given the one before it, `inputs` (b n)."""
        x = self.decoder.embedding(inputs) + self.plan(latent)
        if self.conductor is not None:
            x = rearrange(x, "b (m t) d -> (b m) t d", t=self.bar_tokens)
        hidden, _ = self.decoder.backbone(x)
        return rearrange(self.decoder.logits(hidden), "(b m) t v -> b (m t) v", b=len(inputs))
