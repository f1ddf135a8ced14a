"""Tokens of a dataset on disk, once: a memory-mapped array, where each piece lies in it, and what it is.

Folder: manifest.json, tokens.bin, offsets.npy (n + 1 int64), pieces.jsonl, failures.txt, remarks.txt, left_out.jsonl,
near.jsonl, tokenizer/. Pieces lie in the order train, valid, test.
"""

import json
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.dataset import SPLITS, Split
from core.words import counted
from datatools.preparing.intact import Damaged, manifest_of

FORMAT = 2


@dataclass(frozen=True, slots=True)
class PieceInfo:
    """One piece of the store. `path` and `index` lead back to the file, `source` is its short name.

    `notes` are those of the file, `told` those that its tokens decode to.
    """

    source: str
    title: str
    notes: int
    told: int
    seconds: float
    tokens: int
    split: Split
    sha256: str
    path: str
    index: int


class TokenStore:
    """Reads a prepared store; opening it maps the tokens and loads little else.

    `Damaged` (a HubError) names the first file that is missing, cut or changed: sizes are verified at every opening,
    checksums where the files are 64 MB or less in all.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = manifest_of(self.folder, FORMAT)
        self.root = root if root is not None else Path(self.manifest["dataset"]["root"])
        dtype = np.dtype(self.manifest["dtype"])
        streams = int(self.manifest["tokenizer"]["streams"])
        tokens: NDArray[Any] = np.memmap(self.folder / "tokens.bin", dtype=dtype, mode="r")
        self._tokens = tokens if streams == 1 else tokens.reshape(-1, streams)
        self._offsets = _offsets(self.folder / "offsets.npy", sum(map(self.count, SPLITS)), len(self._tokens))
        first = 0
        self._first: dict[str, int] = {}
        for split in SPLITS:
            self._first[split] = first
            first += self.count(split)
        self._pieces: dict[str, list[PieceInfo]] = {}

    @property
    def tokenizer_folder(self) -> Path:
        """What the tokenizer saved; `build(hparams, folder)` makes it again."""
        return self.folder / "tokenizer"

    @property
    def failures_path(self) -> Path:
        """The list of what could not be used, `file: reason` a line."""
        return self.folder / "failures.txt"

    def count(self, split: Split) -> int:
        """Pieces in a split."""
        return int(self.manifest["counts"][split]["pieces"])

    def pieces(self, split: Split) -> list[PieceInfo]:
        """What the pieces of a split are, in the order of `ids`; read when they are first asked for."""
        if split not in self._pieces:
            self._pieces[split] = self._read(self._first[split], self.count(split))
        return self._pieces[split]

    def ids(self, split: Split, k: int) -> NDArray[Any]:
        """The tokens of piece `k` of a split, without begin and end: a read-only view of uint16 or uint32.

        Its shape is (n,), or (n, k) where a token has k streams.
        """
        if not 0 <= k < self.count(split):
            raise IndexError(f"{split} has {counted(self.count(split), 'piece')}; piece {k} was asked for")
        row = self._first[split] + k
        return self._tokens[self._offsets[row] : self._offsets[row + 1]]

    def lengths(self, split: Split) -> NDArray[np.int64]:
        """Tokens of each piece of a split: (pieces,)."""
        first = self._first[split]
        return np.diff(self._offsets[first : first + self.count(split) + 1])

    def _read(self, first: int, count: int) -> list[PieceInfo]:
        path = self.folder / "pieces.jsonl"
        try:
            with path.open(encoding="utf-8") as file:
                pieces = [piece_from(json.loads(line), self.root) for line in islice(file, first, first + count)]
        except (ValueError, KeyError, TypeError) as error:  # in a store too large for checksums
            raise Damaged(path, f"has a line that is no piece ({type(error).__name__}: {error})") from error
        if len(pieces) != count:
            raise Damaged(path, f"has {first + len(pieces)} lines; expected {len(self._offsets) - 1}")
        return pieces


def _offsets(path: Path, pieces: int, tokens: int) -> NDArray[np.int64]:
    """Where each piece begins and the last one ends: (pieces + 1,), from 0 to `tokens`."""
    try:
        offsets: NDArray[np.int64] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Damaged(path, f"is no array ({error})") from error
    if offsets.shape != (pieces + 1,) or offsets.dtype != np.int64 or (offsets[0], offsets[-1]) != (0, tokens):
        raise Damaged(path, f"does not lead through {pieces} pieces of {tokens} tokens in all")
    return offsets


def piece_from(row: dict[str, Any], root: Path) -> PieceInfo:
    """A line of pieces.jsonl; its path is relative to the dataset's root where it lies below it."""
    path = os.path.normpath(os.path.join(root, row["path"]))
    return PieceInfo(**{name: row[name] for name in PieceInfo.__slots__} | {"path": path})
