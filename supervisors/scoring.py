"""How well a model tells pieces it has not seen: nats per token and per note, every token scored once, the end counted.

Shapes: b batch, l length.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from core.backbone import State
from core.model import LanguageModel

CHUNK = 512  # tokens at a time, the state carried on: memory stays flat however long a piece is


@torch.inference_mode()
def piece_nats(model: LanguageModel, ids: Tensor, targets: Tensor, autocast: AbstractContextManager[None]) -> Tensor:
    """Nats of each row's whole piece (b,), float64, given all that came before in it; targets of -100 do not count."""
    state: State | None = model.init_state(ids.shape[0], ids.shape[1])
    total = torch.zeros(ids.shape[0], dtype=torch.float64, device=ids.device)
    with autocast:
        for start in range(0, ids.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            nats, state = model.loss(ids[:, part], targets[:, part], state=state)
            total += nats.double().sum(1)
    return total


def score(
    model: LanguageModel,
    batches: Iterable[dict[str, Any]],
    notes: list[int],
    autocast: AbstractContextManager[None],
) -> dict[str, float]:
    """Sums over whole pieces; `notes` counts the notes of each piece's own score, so that tokenizers compare.

    Returns nats_per_token, nats_per_note, pieces, tokens (ends counted) and notes.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    total, tokens, pieces, counted_notes = 0.0, 0, 0, 0
    for batch in batches:
        targets = batch["targets"].to(device)
        total += float(piece_nats(model, batch["ids"].to(device), targets, autocast).sum())
        tokens += int((targets != -100).sum())
        pieces += len(batch["pieces"])
        counted_notes += sum(notes[piece] for piece in batch["pieces"])
    model.train(training)
    return {
        "nats_per_token": total / max(tokens, 1),
        "nats_per_note": total / max(counted_notes, 1),
        "pieces": pieces,
        "tokens": tokens,
        "notes": counted_notes,
    }
