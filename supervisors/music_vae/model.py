"""MusicVAE around any backbone: a window of bars to a latent vector and back.

The decoder is a language model that is told of the latent vector at every token, of each place of a bar in another way.
With a hierarchy a conductor tells it instead, bar by bar, and each bar is a piece of its own: nothing but the token
before passes its line. Where the paper sets the first state of an LSTM and takes its last, here something is added to
the inputs and all outputs are gathered (`places.py`), which any backbone has, and no token has to pass all others.
The conductor, which gets no input in the paper, is dealt the latent vector bar by bar.

Source: Roberts et al., arXiv 1803.05428, section 3.
Shapes: b windows, m bars of a window, t tokens of a bar, n = m t, z latent numbers, d width, c width of the conductor,
v vocabulary.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.language_model import LanguageModel
from core.model.streams import INIT_STD, init_table
from supervisors.music_vae.places import Dealt, Gathered

# A new encoder tells windows apart (gain of the map to means) with little noise (softplus of the bias of scales). The
# authors begin with means near 0 under a scale of 0.69, from which the decoder first learns to hear nothing.
GAIN, QUIET = 4.0, -2.0


class Encoder(nn.Module):
    """Reads a window both ways: what is known at every place, side by side, tells a normal distribution."""

    def __init__(self, forth: Any, back: Any, vocabulary: int, places: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, forth.dim)
        init_table(self.embedding.weight, vocabulary, getattr(forth, "embedding_std", INIT_STD))
        self.forth, self.back = forth, back
        self.gathered = Gathered(places, 2 * forth.dim)
        self.mean, self.scale = nn.Linear(2 * forth.dim, latent), nn.Linear(2 * forth.dim, latent)
        nn.init.xavier_uniform_(self.mean.weight, gain=GAIN)
        nn.init.zeros_(self.mean.bias)
        nn.init.normal_(self.scale.weight, std=INIT_STD)
        nn.init.constant_(self.scale.bias, QUIET)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale (b z), in float32 or wider, of windows ids (b n), of which `lengths` (b,) tokens are music."""
        places = torch.arange(ids.shape[1], device=ids.device)
        turned = (lengths[:, None] - 1 - places).clamp(min=0)  # padding stays on the right
        forth, _ = self.forth(self.embedding(ids))
        back, _ = self.back(self.embedding(ids.gather(1, turned)))
        back = back.gather(1, turned[..., None].expand(back.shape))
        both = self.gathered(torch.cat([forth, back], dim=-1), places < lengths[:, None])
        mean, scale = (_wide(head(both)) for head in (self.mean, self.scale))
        return mean, F.softplus(scale)


class Conductor(nn.Module):
    """What there is to know of each bar."""

    def __init__(self, backbone: Any, bars: int, latent: int) -> None:
        super().__init__()
        self.dealt = Dealt(latent, bars, backbone.dim, getattr(backbone, "embedding_std", INIT_STD))
        self.backbone = backbone
        # A new LSTM is so quiet that the decoder would not hear it.
        self.norm = nn.RMSNorm(backbone.dim, eps=1e-5, elementwise_affine=False)

    def forward(self, latent: Tensor) -> Tensor:
        """latent (b z) -> (b m c)."""
        told: Tensor = self.norm(self.backbone(self.dealt(latent[:, None])[:, 0])[0])
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
        self.encoder = Encoder(*encoders, vocabulary, bars * bar_tokens, latent)
        self.decoder = LanguageModel(decoder, vocabulary, tie=tie)
        std = getattr(decoder, "embedding_std", INIT_STD)
        self.conductor = Conductor(conductor, bars, latent) if conductor is not None else None
        known = latent if conductor is None else conductor.dim
        self.dealt = Dealt(known, bar_tokens, decoder.dim, std)

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.bars * self.bar_tokens

    def plan(self, latent: Tensor) -> Tensor:
        """What is added to the input of every token (b n d)."""
        of_bars = latent[:, None] if self.conductor is None else self.conductor(latent)
        told = self.dealt(of_bars)  # (b 1 t d) or (b m t d)
        return rearrange(told.expand(-1, self.bars, -1, -1), "b m t d -> b (m t) d")

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


def _wide(x: Tensor) -> Tensor:
    """Numbers of autocast as those of the weights are, which is what whoever goes on without it needs."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
