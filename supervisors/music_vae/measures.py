"""How well windows are told and how well they come back, one by one.

Shapes: b windows, n tokens of a window, z latent numbers.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from core.model.language_model import IGNORED
from core.model.sampling import Sampling
from core.seeds import generator
from supervisors.evaluation.scoring import PieceScore, piece_score
from supervisors.music_vae import elbo
from supervisors.music_vae.drawing import sample
from supervisors.music_vae.model import MusicVae


@dataclass(frozen=True)
class Window:
    """What one window cost and how much of it came back."""

    piece: int
    targets: NDArray[Any]  # (n,) of its tokens
    nats: NDArray[Any]  # (n,) of each token, given one draw of the latent vector
    divergence: float  # nats
    right: int  # tokens that are the likeliest, given those before and the mean latent vector
    drawn_right: int | None  # tokens that come out when they are drawn from the mean latent vector alone


@torch.inference_mode()
def scored(
    model: MusicVae,
    batches: Iterable[dict[str, Any]],
    autocast: AbstractContextManager[None],
    music: Sequence[int] | None = None,
) -> list[Window]:
    """The windows of `windows.tiles`, in their order. With the ids of `music` they are drawn as well, at temperature 1.

    The one draw of a latent vector is a function of piece and place, so that a figure can be repeated.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    found: list[Window] = []
    for batch in batches:
        ids, targets = batch["ids"].to(device), batch["targets"].to(device)
        counted = targets != IGNORED
        noise = np.stack([generator("bound", *place).standard_normal(model.latent) for place in batch["places"]])
        with autocast:
            mean, scale = model.encoder(ids, counted.sum(1))
            drawn = mean + scale * torch.from_numpy(noise).to(mean)
            logits = model.decode(model.inputs(ids), drawn)
            likeliest = model.decode(model.inputs(ids), mean).argmax(-1)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED)
        right = (likeliest == targets).sum(1).tolist()
        drawn_right = [None] * len(ids)
        if music is not None:
            rows = range(len(found), len(found) + len(ids))
            drawn_right = (sample(model, mean, Sampling(), music=music, rows=rows) == targets).sum(1).tolist()
        costs = elbo.divergence(mean, scale).tolist()
        for row, (k, _) in enumerate(batch["places"]):
            here = counted[row].cpu()
            own = nats.view(targets.shape)[row].double().cpu()[here].numpy()
            told = batch["targets"][row][here].numpy()
            found.append(Window(k, told, own, costs[row], right[row], drawn_right[row]))
    model.train(training)
    return found


def pieces(windows: Sequence[Window], kinds: Sequence[Sequence[int]]) -> list[PieceScore]:
    """Minus the evidence lower bound of each piece, which costs no more nats than that.

    A window's divergence is spread over its tokens.
    """
    tables = [np.asarray(table) for table in kinds]
    scores = []
    for number, members in groupby(windows, key=lambda window: window.piece):
        own = list(members)
        nats = np.concatenate([window.nats + window.divergence / len(window.nats) for window in own])
        scores.append(piece_score(number, nats[:, None], np.concatenate([w.targets for w in own])[:, None], tables))
    return scores


def figures(windows: Sequence[Window]) -> dict[str, float]:
    """Means over windows: `elbo`, `reconstruction` and `divergence` in nats; and the shares of tokens that are right,
    `step_accuracy` (given those before) and, where they were drawn, `sampled_accuracy`."""
    count, tokens = max(len(windows), 1), max(sum(len(window.nats) for window in windows), 1)
    nats, costs = sum(float(w.nats.sum()) for w in windows) / count, sum(w.divergence for w in windows) / count
    found = {
        "elbo": -nats - costs,
        "reconstruction": nats,
        "divergence": costs,
        "step_accuracy": sum(window.right for window in windows) / tokens,
        "windows": count,
    }
    if all(window.drawn_right is not None for window in windows):
        found["sampled_accuracy"] = sum(window.drawn_right or 0 for window in windows) / tokens
    return found
