"""Music out of latent vectors, drawn token by token.

Shapes: b windows, n tokens of a window, z latent numbers, v vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.contracts.backbone import State
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids, Tokenizer
from core.model.sampling import Sampling, draw
from supervisors.music_vae.model import MusicVae


@torch.inference_mode()
def sample(
    model: MusicVae,
    latent: Tensor,
    sampling: Sampling,
    *,
    music: Sequence[int],
    rows: Sequence[int],
    grammar: Grammar | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Windows (b n) of latent vectors (b z); row i draws by the number `rows[i]`, alone or among others.

    Only the ids of `music` are drawn, and of those what a grammar allows. With a hierarchy the decoder begins anew at
    each bar, given the last token of the bar before.
    """
    latent = latent.to(next(model.parameters()).device)
    plan = model.plan(latent)  # (b n d)
    span = model.tokens if model.conductor is None else model.bar_tokens
    numbers = torch.tensor(rows, device=latent.device)
    fits = torch.zeros(model.decoder.vocab_size, dtype=torch.bool, device=latent.device)
    fits[list(music)] = True
    seen = torch.zeros(len(latent), len(fits), dtype=torch.bool, device=latent.device)
    told = grammar.begin(len(latent)) if grammar is not None else {}
    token = torch.full_like(numbers, model.bos_id)
    state: State | None = None
    drawn = []
    for place in range(model.tokens):
        if place % span == 0:
            state = model.decoder.init_state(len(latent), span)
        x = model.decoder.embedding(token)[:, None] + plan[:, place : place + 1]
        hidden, state = model.decoder.backbone(x, state)
        allowed = fits.expand(len(latent), -1)
        if grammar is not None:
            allowed = allowed & grammar.allowed(told).to(latent.device)
        token = draw(model.decoder.logits(hidden[:, 0]), sampling, numbers, place, allowed, seen)
        seen.scatter_(1, token[:, None], True)
        if grammar is not None:
            told = grammar.advance(told, token.cpu())
        drawn.append(token)
        if progress is not None:
            progress(len(latent))
    return torch.stack(drawn, dim=1)


def music_of(tokenizer: Tokenizer) -> Ids:
    """All ids but those of pad, bos and eos."""
    ends = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    return [id for id in range(tokenizer.vocab_size) if id not in ends]
