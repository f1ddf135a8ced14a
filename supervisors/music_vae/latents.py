"""Latent vectors that `generate.latent.*` asks for: of the prior, of a file, between two files, with a quality added.

Shapes: p pieces, w windows of a piece, b windows, z latent numbers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.log import logger
from core.seeds import generator
from datatools.reading import scores
from hparams.base import GenerateHParams
from supervisors.music_vae.model import MusicVae
from supervisors.music_vae.windows import framed


def wanted(model: MusicVae, tokenizer: Tokenizer, asked: GenerateHParams) -> Tensor:
    """The vectors (p w z) of `generate.count` pieces; HubError where they cannot be had."""
    of = asked.latent
    if of.source:
        first = _of_file(model, tokenizer, "source", Path(of.source))
        if of.target:
            last = _of_file(model, tokenizer, "target", Path(of.target))
            if asked.count < 2:
                raise HubError("generate.count is 1; expected at least 2 pieces on the way to generate.latent.target")
            both = min(len(first), len(last))
            shares = np.linspace(0, 1, asked.count).tolist()
            found = torch.stack([slerp(first[:both], last[:both], share) for share in shares])
        else:
            found = first.expand(asked.count, -1, -1)
    else:
        rows = [generator(asked.seed, "latent", row).standard_normal(model.latent) for row in range(asked.count)]
        found = torch.from_numpy(np.stack(rows)).float()[:, None]
    if of.attribute:
        with_, without = (_mean(model, tokenizer, Path(place)) for place in of.attribute)
        found = found + of.amount * (with_ - without)
    return found


def slerp(first: Tensor, last: Tensor, share: float) -> Tensor:
    """The vectors (b z) at a share of the way, along the great circle, lengths along the line (White, 1609.04468).

    As there: sin((1 - s) w) / sin(w) a + sin(s w) / sin(w) b, w being the angle between a and b; along the line where
    they point the same way or opposite ways.
    """
    directions = [each / each.norm(dim=-1, keepdim=True).clamp(min=1e-12) for each in (first, last)]
    angle = (directions[0] * directions[1]).sum(-1, keepdim=True).clamp(-1, 1).arccos()
    sine = angle.sin()
    straight = sine.abs() < 1e-6
    safe = torch.where(straight, torch.ones_like(sine), sine)
    of_first = torch.where(straight, torch.full_like(sine, 1 - share), ((1 - share) * angle).sin() / safe)
    of_last = torch.where(straight, torch.full_like(sine, share), (share * angle).sin() / safe)
    return of_first * first + of_last * last


@torch.inference_mode()
def encoded(model: MusicVae, tokenizer: Tokenizer, path: Path) -> Tensor:
    """The mean vectors (w z) of a file's windows, one behind the other; ValueError or OSError where it has none."""
    ids = np.array(tokenizer.encode(scores.read(path)), dtype=np.int64)
    if not len(ids):
        raise ValueError("it has no music")
    windows = [ids[begin : begin + model.tokens] for begin in range(0, len(ids), model.tokens)]
    device = next(model.parameters()).device
    batch = framed(windows, model.tokens, tokenizer.pad_id)
    lengths = torch.tensor([len(window) for window in windows], device=device)
    return model.encoder(batch["ids"].to(device), lengths)[0].float().cpu()


def _of_file(model: MusicVae, tokenizer: Tokenizer, key: str, path: Path) -> Tensor:
    try:
        return encoded(model, tokenizer, path)
    except (ValueError, OSError) as error:
        raise HubError(f"generate.latent.{key}: {path} cannot be encoded: {error}") from error


def _mean(model: MusicVae, tokenizer: Tokenizer, place: Path) -> Tensor:
    """The mean vector (z) over the windows of a file, or of all files of a folder that can be read."""
    if not place.is_dir():
        return _of_file(model, tokenizer, "attribute", place).mean(0)
    found = list(_of_folder(model, tokenizer, place))
    if not found:
        raise HubError(f"generate.latent.attribute: {place} has no file that this model's tokenizer can tell")
    return torch.cat(found).mean(0)


def _of_folder(model: MusicVae, tokenizer: Tokenizer, folder: Path) -> Iterator[Tensor]:
    for path in sorted(folder.iterdir()):
        if path.is_file():
            try:
                yield encoded(model, tokenizer, path)
            except (ValueError, OSError) as error:
                logger.warning("generate.latent.attribute: %s is left out: %s", path, error)
