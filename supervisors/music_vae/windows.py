"""Windows of whole bars as a pure function of (seed, step), with all that is random about them.

Shapes: b windows, n tokens of a window, z latent numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.contracts.dataset import Split
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.seeds import generator
from core.words import counted
from datatools.batching.augment import Augmentation
from datatools.batching.batches import Store
from hparams.base import AugmentHParams

_IGNORED = -100
_SAMPLED = 50  # pieces on which augmentation is tried
ROWS = 128  # windows at a time where nothing is learned


class Windows:
    """Endless training batches: each epoch takes as many windows of a piece as cover it, beginning at bars drawn anew.

    A piece shorter than a window is one window, filled with pad, whose targets are -100. Rows are dealt out as those of
    `datatools.batching.batches.Batches` are.
    """

    def __init__(
        self,
        store: Store,
        tokenizer: Tokenizer,
        *,
        bars: int,
        bar_tokens: int,
        latent: int,
        batch_size: int,
        accumulate: int,
        seed: int,
        augment: AugmentHParams,
    ) -> None:
        self._store, self._seed, self._pad = store, seed, tokenizer.pad_id
        self._bars, self._bar, self._latent = bars, bar_tokens, latent
        self._batch_size, self._accumulate = batch_size, accumulate
        self._lengths = store.lengths("train")
        count = len(self._lengths)
        if not count:
            raise HubError("the split train has no piece; add music to the dataset")
        self._there = -(-self._lengths // bar_tokens)  # bars of each piece
        self._pieces = np.repeat(np.arange(count), -(-self._there // bars))
        self._augmentation = Augmentation(augment, tokenizer, seed)
        self._augmentation.warn([store.ids("train", k) for k in range(0, count, -(-count // _SAMPLED))])
        self._plans: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which an epoch is seen whole; at least 1."""
        return -(-len(self._pieces) // self._batch_size)

    def batch(self, step: int, micro: int, replica: int, replicas: int) -> dict[str, Tensor]:
        """One micro-batch: `ids` and `targets` (b n) int64, `noise` (b z) and `chance` (2 b n), uniform, and `step`."""
        share, rest = divmod(self._batch_size, self._accumulate * replicas)
        if rest:
            raise HubError(
                f"data.batch_size is {self._batch_size}; expected a multiple of {self._accumulate * replicas} "
                f"(train.accumulate {self._accumulate} times {counted(replicas, 'replica')})"
            )
        first = step * self._batch_size + (micro * replicas + replica) * share
        windows = [self._window(row) for row in range(first, first + share)]
        draws = [generator(self._seed, "window", row) for row in range(first, first + share)]
        noise = np.stack([rng.standard_normal(self._latent, dtype=np.float32) for rng in draws])
        chance = np.stack([rng.random((2, self._bars * self._bar), dtype=np.float32) for rng in draws], axis=1)
        return framed(windows, self._bars * self._bar, self._pad) | {
            "noise": torch.from_numpy(noise),
            "chance": torch.from_numpy(chance),
            "step": torch.tensor(step),
        }

    def counted(self, step: int) -> int:
        """Targets that a whole step counts, over all micro-batches and replicas."""
        found = 0
        for row in range(step * self._batch_size, (step + 1) * self._batch_size):
            piece, begin, _ = self._locate(row)
            found += min((begin + self._bars) * self._bar, int(self._lengths[piece])) - begin * self._bar
        return found

    def _window(self, row: int) -> NDArray[Any]:
        """The tokens of a row of the stream, as they are in its epoch."""
        piece, begin, epoch = self._locate(row)
        ids, _ = self._augmentation.apply(self._store.ids("train", piece), epoch, piece)
        return ids[begin * self._bar : (begin + self._bars) * self._bar]

    def _locate(self, row: int) -> tuple[int, int, int]:
        """Piece, first bar and epoch of a row of the stream."""
        epoch, row = divmod(row, len(self._pieces))
        if epoch not in self._plans:
            rng = generator(self._seed, "epoch", epoch)
            order = rng.permutation(self._pieces)
            begins = rng.integers(0, np.maximum(self._there[order] - self._bars, 0) + 1)
            self._plans = {epoch: (order, begins)}
        order, begins = self._plans[epoch]
        return int(order[row]), int(begins[row]), epoch


def framed(windows: list[NDArray[Any]], tokens: int, pad_id: int) -> dict[str, Tensor]:
    """`ids` and `targets` (b n) of windows of at most n `tokens`, padded on the right."""
    ids = np.full((len(windows), tokens), pad_id, dtype=np.int64)
    for row, window in zip(ids, windows, strict=True):
        row[: len(window)] = window
    counted = np.arange(tokens) < np.array([[len(window)] for window in windows])
    return {"ids": torch.from_numpy(ids), "targets": torch.from_numpy(np.where(counted, ids, _IGNORED))}


def tiles(store: Store, split: Split, tokens: int, pad_id: int, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """All tokens of a split once, piece by piece in windows one behind the other; `places` has (piece, first token).

    With a limit, of a fixed choice of pieces with at most about so many tokens.
    """
    lengths = store.lengths(split).tolist()
    chosen, left = list(range(len(lengths))), limit
    if left is not None and sum(lengths) > left:
        order, chosen = generator("whole", split).permutation(len(lengths)).tolist(), []
        while order and (not chosen or left > 0):
            chosen.append(order.pop())
            left -= lengths[chosen[-1]]
    found = [(k, begin) for k in sorted(chosen) for begin in range(0, lengths[k], tokens)]
    for first in range(0, len(found), ROWS):
        part = found[first : first + ROWS]
        windows = [store.ids(split, k)[begin : begin + tokens] for k, begin in part]
        yield framed(windows, tokens, pad_id) | {"places": part}
