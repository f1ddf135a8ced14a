"""How well a model tells pieces it has not seen: nats per token and per note, every token scored once, the end counted.

Shapes: b batch, l length, n tokens, s streams, v vocabulary, k kinds of token.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.contracts.backbone import State
from core.model.conditioning import Known, known_of
from core.model.language_model import IGNORED, LanguageModel
from datatools.preparing.store import PieceInfo
from plugins.metrics.parts.intervals import ratio
from supervisors.evaluation.kinds import KINDS

Array = NDArray[Any]
CHUNK = 512  # tokens at a time, the state carried on: memory stays flat however long a piece is
BITS = 1 / float(np.log(2))  # in a nat
# Nats that a note costs which the tokenizer does not tell: a uniform choice of one of 128 pitches, 129 instruments
# (drums are one), 48 onsets (twelve a quarter, in a bar of 4/4) and 48 durations. No token and no data moves it, and it
# is more than a model pays that tells the note: nothing is won by dropping.
UNTOLD = float(np.log(128 * 129 * 48 * 48))


@dataclass(frozen=True)
class PieceScore:
    """What one piece cost. `kinds` and `depths` hold (nats, tokens) by kind of token and by distance from its start.

    Depth d covers the tokens from 2^d - 1 up to 2^(d + 1) - 2 before them.
    """

    number: int
    nats: float
    tokens: int
    kinds: list[tuple[float, int]]
    depths: list[tuple[float, int]]


@torch.inference_mode()
def token_nats(
    model: LanguageModel,
    ids: Tensor,
    targets: Tensor,
    autocast: AbstractContextManager[None],
    known: Known | None = None,
    reach: int | None = None,
) -> Tensor:
    """Nats of each target, float64 on the CPU, given all that came before it; 0 where a target is -100.

    With a `reach` (tokens), pieces beyond it are read in windows that overlap by half: a target is given all before it
    up to `reach`, and half of that at least, as is usual where a model has a learned vector for each place.
    """
    length = ids.shape[1]
    reach = reach or length
    parts: list[Tensor] = []
    window = done = 0
    with autocast:
        while done < length:
            end = min(window + reach, length)
            state: State | None = model.init_state(ids.shape[0], end - window)
            for start in range(window, end, CHUNK):
                part = slice(start, min(start + CHUNK, end))
                beside = known.part(part) if known is not None else None
                nats, state = model.loss(ids[:, part], targets[:, part], state=state, known=beside)
                parts.append(nats[:, max(done - start, 0) :].double().cpu())
                done = max(done, part.stop)
            window += max(reach // 2, 1)
    return torch.cat(parts, dim=1)


def score_pieces(
    model: LanguageModel,
    batches: Iterable[dict[str, Any]],
    kinds: Sequence[Sequence[int]],
    autocast: AbstractContextManager[None],
    progress: Callable[[int], object] | None = None,
    reach: int | None = None,
) -> list[PieceScore]:
    """The scores of whole pieces by their numbers; `kinds` gives each id's place in KINDS, stream by stream.

    `reach` is that of `token_nats`.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    tables = [np.asarray(table) for table in kinds]
    scores = []
    for batch in batches:
        ids, goals, known = batch["ids"].to(device), batch["targets"].to(device), known_of(batch, device)
        nats = token_nats(model, ids, goals, autocast, known, reach).numpy()
        for number, row, targets in zip(batch["pieces"], nats, batch["targets"].numpy(), strict=True):
            told = targets.reshape(len(targets), -1)  # (l s)
            tokens = told[:, 0] != IGNORED
            scores.append(piece_score(number, row.reshape(told.shape)[tokens], told[tokens], tables))
        if progress is not None:
            progress(len(batch["pieces"]))
    model.train(training)
    return sorted(scores, key=lambda score: score.number)


def piece_score(number: int, nats: Array, targets: Array, tables: Sequence[Array]) -> PieceScore:
    """The score of a piece from nats and targets (n s) of its tokens; a table (v) of kinds each stream."""
    depths = np.log2(np.arange(1, len(nats) + 1)).astype(np.int64)
    counted = targets != IGNORED
    places = np.where(counted, targets, 0)
    kinds = np.stack([table[column] for table, column in zip(tables, places.T, strict=True)], axis=1)
    joint = nats.sum(axis=1)

    def sums(groups: Array, costs_of: Array, size: int) -> list[tuple[float, int]]:
        costs, counts = np.bincount(groups, costs_of, size), np.bincount(groups, minlength=size)
        return list(zip(costs.tolist(), counts.tolist(), strict=True))

    return PieceScore(
        number,
        float(joint.sum()),
        len(nats),
        sums(kinds[counted], nats[counted], len(KINDS)),
        sums(depths, joint, int(depths.max(initial=-1)) + 1),
    )


def totals(scores: Sequence[PieceScore], infos: Sequence[PieceInfo]) -> dict[str, Any]:
    """Sums over pieces; notes and seconds are those of each piece's own score, so that tokenizers compare.

    `headline` charges notes that the tokenizer does not tell with UNTOLD nats each; `nats_per_note` lets them go free.
    `nats_per_note_interval` is a bootstrap over pieces; `kinds` shares nats_per_note out to the kinds of token;
    `depths` holds [tokens before at least, nats per token, tokens].
    """
    told = [infos[score.number] for score in scores]
    nats, tokens = sum(score.nats for score in scores), sum(score.tokens for score in scores)
    notes, seconds = sum(info.notes for info in told), sum(info.seconds for info in told)
    counts, known = [info.notes for info in told], sum(info.told for info in told)
    _, low, high = ratio([score.nats for score in scores], counts)
    costs = [score.nats + UNTOLD * (info.notes - info.told) for score, info in zip(scores, told, strict=True)]
    charged, least, most = ratio(costs, counts)
    by_kind = np.array([score.kinds for score in scores]).reshape(-1, len(KINDS), 2).sum(0)  # (k 2)
    depths: list[list[float]] = []
    for depth in range(max((len(score.depths) for score in scores), default=0)):
        there = [score.depths[depth] for score in scores if depth < len(score.depths)]
        count = sum(pair[1] for pair in there)
        depths.append([2**depth - 1, sum(pair[0] for pair in there) / max(count, 1), count])
    return {
        "nats_per_token": nats / max(tokens, 1),
        "nats_per_note": nats / max(notes, 1),
        "nats_per_note_interval": [low, high],
        "headline": {"value": charged, "low": least, "high": most, "share_told": known / max(notes, 1)},
        "bits_per_second": nats * BITS / seconds if seconds else 0.0,
        "kinds": {
            kind: cost / max(notes, 1) for kind, (cost, count) in zip(KINDS, by_kind.tolist(), strict=True) if count
        },
        "depths": depths,
        "pieces": len(scores),
        "tokens": tokens,
        "notes": notes,
        "notes_told": known,
        "seconds": seconds,
    }


def charge(found: Mapping[str, Any]) -> float:
    """Nats per note for what is not told, of any model of these pieces; `found` as `totals` gives it."""
    return UNTOLD * (found["notes"] - found["notes_told"]) / max(found["notes"], 1)


def records(split: str, scores: Sequence[PieceScore], infos: Sequence[PieceInfo]) -> list[dict[str, Any]]:
    """A line for each piece, from which every figure of `totals` can be made again."""
    return [
        {
            "split": split,
            "source": infos[score.number].source,
            "index": infos[score.number].index,
            "title": infos[score.number].title,
            "nats": score.nats,
            "tokens": score.tokens,
            "notes": infos[score.number].notes,
            "notes_told": infos[score.number].told,
            "seconds": infos[score.number].seconds,
            "kinds": {kind: list(pair) for kind, pair in zip(KINDS, score.kinds, strict=True) if pair[1]},
        }
        for score in scores
    ]
