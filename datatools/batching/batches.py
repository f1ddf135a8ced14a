"""Batches as a pure function of (seed, step), and whole pieces for evaluation.

Shapes: b rows, l length, n tokens of a piece, k streams of a token: `ids` are (b l), of several streams (b l k);
c width of all controls together, m controls.
"""

from collections.abc import Iterator
from typing import Any, Protocol

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
from datatools.batching.controls import Beside
from datatools.batching.packing import Plan, plan
from hparams.base import AugmentHParams

_IGNORED = -100
_SAMPLED = 50  # pieces on which augmentation is tried
_PLANS_KEPT = 2  # a step may straddle two epochs


class Store(Protocol):
    """What is asked of a token store."""

    def lengths(self, split: Split) -> NDArray[np.int64]:
        """Tokens of each piece, without bos and eos: (pieces,)."""
        ...

    def pieces(self, split: Split) -> Any:
        """One object with `.notes` a piece."""
        ...

    def ids(self, split: Split, k: int) -> NDArray[Any]:
        """The ids (n) or (n k) of piece k, without bos and eos."""
        ...


class Batches:
    """Endless training batches: epoch after epoch, each cut, packed, shuffled and augmented anew.

    A piece is bos + ids + eos, and every token of it but bos is a target exactly once an epoch. One that fits a row is
    never split; a longer one is cut at bars where the tokenizer knows them (`data.augment.crop`), at other places each
    epoch. A crop from token i on begins with token i - 1 as its first input, so that token i is predicted too, and
    only a piece's beginning has bos. Rows are filled with pad, whose targets are -100.

    All rows of all epochs form one stream; step s takes the next `batch_size` of it, micro-batch by micro-batch and
    in each replica by replica, so that the order of data does not depend on how many of either there are.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        length: int,
        batch_size: int,
        seed: int,
        packs: bool,
        augment: AugmentHParams,
        tokenizer: Tokenizer,
        accumulate: int = 1,
        beside: Beside | None = None,
    ) -> None:
        self._store, self._split = store, split
        self._bos, self._eos, self._pad = bos_id, eos_id, pad_id
        self._length, self._batch_size, self._accumulate = length, batch_size, accumulate
        self._seed, self._packs = seed, packs
        self._streams = tokenizer.streams
        self._beside = beside
        self._positions = store.lengths(split) + 1
        if not len(self._positions):
            raise HubError(f"the split {split} has no piece; add music to the dataset")
        self._augmentation = Augmentation(augment if split == "train" else AugmentHParams(), tokenizer, seed)
        count = len(self._positions)
        sample = range(0, count, -(-count // _SAMPLED))
        self._augmentation.warn([store.ids(split, k) for k in sample])
        bar_starts = getattr(tokenizer, "bar_starts", None) if augment.crop == "bar" else None
        self._bars = [
            None
            if count <= length
            else np.asarray(bar_starts(store.ids(split, k).tolist()) if bar_starts else (), dtype=np.int64)
            for k, count in enumerate(self._positions.tolist())
        ]
        self._plans: dict[int, Plan] = {}
        self._ends = [0]  # rows of the stream before each epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which the first epoch is seen whole; at least 1. Others differ by the luck of packing."""
        return -(-self._plan(0).rows // self._batch_size)

    def batch(self, step: int, micro: int, replica: int, replicas: int) -> dict[str, Tensor]:
        """One micro-batch: `ids` and `targets` int64, `starts` (b l) bool; a function of nothing else.

        `starts` is True where a piece or crop begins and where padding does. With controls also `controls` (b l c) and
        `given` (b l m). HubError when the rows of a step cannot be dealt out evenly.
        """
        share, rest = divmod(self._batch_size, self._accumulate * replicas)
        if rest:
            raise HubError(
                f"data.batch_size is {self._batch_size}; expected a multiple of {self._accumulate * replicas} "
                f"(train.accumulate {self._accumulate} times {counted(replicas, 'replica')})"
            )
        assert 0 <= micro < self._accumulate and 0 <= replica < replicas and step >= 0
        first = step * self._batch_size + (micro * replicas + replica) * share
        ids = padding((share, self._length), self._pad, self._streams)
        targets = np.full_like(ids, _IGNORED)
        starts = np.zeros((share, self._length), dtype=bool)
        arrays: dict[str, NDArray[Any]] = {"ids": ids, "targets": targets, "starts": starts}
        if self._beside is not None:
            arrays["controls"] = np.zeros((share, self._length, self._beside.width), dtype=np.float32)
            arrays["given"] = np.zeros((share, self._length, self._beside.count), dtype=bool)
        for index in range(share):
            self._fill(first + index, {key: array[index] for key, array in arrays.items()})
        return {key: torch.from_numpy(array) for key, array in arrays.items()}

    def counted(self, step: int) -> int:
        """Targets that a whole step counts, over all micro-batches and replicas."""
        rows = (self._locate(row) for row in range(step * self._batch_size, (step + 1) * self._batch_size))
        return sum(self._plan(epoch).counted(row) for epoch, row in rows)

    def _fill(self, row: int, arrays: dict[str, NDArray[Any]]) -> None:
        """Writes one row of the stream into the arrays of a batch's row."""
        ids, targets, starts = arrays["ids"], arrays["targets"], arrays["starts"]
        epoch, row = self._locate(row)
        now = self._plan(epoch)
        at = 0
        for crop in range(now.offsets[row], now.offsets[row + 1]):
            piece, begin, end = int(now.piece[crop]), int(now.begin[crop]), int(now.end[crop])
            music, semitones = self._augmentation.apply(self._store.ids(self._split, piece), epoch, piece)
            entries = framed(music, self._bos, self._eos)[begin : end + 1]
            assert len(entries) == end - begin + 1, "the store says how many tokens a piece has"
            ids[at : at + end - begin] = entries[:-1]
            targets[at : at + end - begin] = told(entries[1:], self._eos)
            starts[at] = True
            if self._beside is not None:
                values, given = self._beside.of(self._split, piece, len(music) + 1, semitones, epoch)
                arrays["controls"][at : at + end - begin] = values[begin:end]
                arrays["given"][at : at + end - begin] = given
            at += end - begin
        if at < self._length:
            starts[at] = True

    def _locate(self, row: int) -> tuple[int, int]:
        """The epoch of a row of the stream, and its number there."""
        while self._ends[-1] <= row:
            self._ends.append(self._ends[-1] + self._plan(len(self._ends) - 1).rows)
        epoch = int(np.searchsorted(self._ends, row, side="right")) - 1
        return epoch, row - self._ends[epoch]

    def _plan(self, epoch: int) -> Plan:
        """The rows of an epoch; the last ones asked for are kept."""
        if epoch not in self._plans:
            rng = generator(self._seed, "epoch", epoch)
            made = plan(self._positions, self._bars, self._length, rng, self._packs)
            while len(self._plans) >= _PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[epoch] = made
        return self._plans[epoch]


def framed(ids: NDArray[Any], bos_id: int, eos_id: int) -> NDArray[np.int64]:
    """A piece (n) or (n k) between its ends; these stand in the first stream, and the others hold 0."""
    ends = padding((2,), bos_id, ids.shape[1] if ids.ndim > 1 else 1)
    ends[1:].reshape(-1)[0] = eos_id
    return np.concatenate([ends[:1], ids.astype(np.int64), ends[1:]])


def padding(shape: tuple[int, ...], id: int, streams: int) -> NDArray[np.int64]:
    """Nothing but `id`, in the first stream where there are several: `shape`, or `shape` and streams."""
    if streams == 1:
        return np.full(shape, id, dtype=np.int64)
    ids = np.zeros((*shape, streams), dtype=np.int64)
    ids[..., 0] = id
    return ids


def told(targets: NDArray[np.int64], eos_id: int) -> NDArray[np.int64]:
    """What is counted of targets (n) or (n k): at the end of a piece the first stream alone."""
    if targets.ndim > 1:
        targets[targets[:, 0] == eos_id, 1:] = _IGNORED
    return targets


def whole(
    store: Store,
    split: Split,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    limit_tokens: int | None = None,
    max_tokens_per_batch: int = 16384,
    beside: Beside | None = None,
) -> Iterator[dict[str, Any]]:
    """Whole pieces for scoring: `ids` and `targets`, padded on the right, and `pieces`, their numbers.

    Pieces come by length, as many in a batch as keep b * l within `max_tokens_per_batch` (one at least). Every token
    and eos is a target once. With `limit_tokens`, a fixed subset spread over the split has at most that many targets;
    the shortest piece alone if no other fits. With controls also `controls` (b l c) and `given` (b l m).
    """
    positions = (store.lengths(split) + 1).tolist()
    chosen = list(range(len(positions)))
    if limit_tokens is not None and sum(positions) > limit_tokens:
        left = limit_tokens
        chosen = []
        for k in generator("whole", split).permutation(len(positions)).tolist():
            if positions[k] <= left:
                chosen.append(k)
                left -= positions[k]
        chosen = chosen or [min(range(len(positions)), key=lambda k: (positions[k], k))]
    chosen.sort(key=lambda k: (positions[k], k))
    while chosen:
        size = 1
        while size < len(chosen) and (size + 1) * positions[chosen[size]] <= max_tokens_per_batch:
            size += 1
        pieces, chosen = chosen[:size], chosen[size:]
        rows = [framed(store.ids(split, k), bos_id, eos_id) for k in pieces]
        streams = rows[0].shape[1] if rows[0].ndim > 1 else 1
        ids = padding((size, positions[pieces[-1]]), pad_id, streams)
        targets = np.full_like(ids, _IGNORED)
        for row, entries in enumerate(rows):
            ids[row, : len(entries) - 1] = entries[:-1]
            targets[row, : len(entries) - 1] = told(entries[1:], eos_id)
        batch = {"ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets), "pieces": pieces}
        if beside is not None:
            values = np.zeros((*ids.shape[:2], beside.width), dtype=np.float32)
            given = np.zeros((*ids.shape[:2], beside.count), dtype=bool)
            for row, k in enumerate(pieces):
                values[row, : positions[k]], given[row, : positions[k]] = beside.of(split, k, positions[k])
            batch |= {"controls": torch.from_numpy(values), "given": torch.from_numpy(given)}
        yield batch
