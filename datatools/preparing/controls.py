"""Vectors of a control beside the tokens of a store: made once by workers, memory-mapped, known by their fingerprint.

Folder, inside the token store's: controls/NAME-KEY/ with values.bin (float32 rows), offsets.npy (pieces + 1) and
manifest.json. A piece has a row for each token, one for the whole piece, or none where the control knows nothing of it.

Shapes: r rows of a piece, c width of the control.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.contracts.control import Control, Vectors
from core.contracts.dataset import SPLITS, Dataset, Item, Split
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from core.files import atomic_folder, checksum, write_json
from core.locks import locked
from core.log import logger
from datatools.preparing import survey
from datatools.preparing.encoding import Build, Read, tokenizer_of
from datatools.preparing.intact import MOST_HASHED
from datatools.preparing.store import PieceInfo, TokenStore
from datatools.storage import cache_folder, storage
from datatools.workers.executors import Machines, chosen, spread
from datatools.workers.pool import Failure
from hparams.base import DataHParams

FORMAT = 2


class ControlStore:
    """Reads the vectors of one control; HubError when they are not as they were written.

    The size is looked at always, the checksum where the file is 64 MB or less.
    """

    def __init__(self, folder: Path, store: TokenStore) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        values = folder / "values.bin"
        size = values.stat().st_size
        if size != manifest["bytes"]:
            raise HubError(f"{values} has {size} bytes; expected {manifest['bytes']}; delete {folder}")
        if size <= MOST_HASHED and checksum(values) != manifest["sha256"]:
            raise HubError(f"{values} is not as it was written (its sha256 is another); delete {folder}")
        self.dim = int(manifest["dim"])
        self.unknown = int(manifest["unknown"])  # pieces
        self._offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", allow_pickle=False)
        count = int(self._offsets[-1])
        self._values: Vectors = (
            np.memmap(values, dtype="<f4", mode="r").reshape(count, self.dim)
            if count
            else np.zeros((0, self.dim), dtype=np.float32)
        )
        first = np.cumsum([0, *(store.count(split) for split in SPLITS)]).tolist()
        self._first = dict(zip(SPLITS, first, strict=False))

    def rows(self, split: Split, k: int) -> Vectors:
        """What is known of piece k of a split: (r c), r the tokens of the piece, 1 or 0."""
        row = self._first[split] + k
        return self._values[self._offsets[row] : self._offsets[row + 1]]


@dataclass(frozen=True)
class Wanted:
    """A control to be stored: `build()` makes it anywhere, `key` changes whenever its settings or version do."""

    name: str
    build: Callable[[], Control]
    key: str

    def folder(self, store: TokenStore) -> Path:
        """Where its vectors lie, or will lie."""
        digest = hashlib.sha256(f"{FORMAT} {self.key}".encode()).hexdigest()[:16]
        return store.folder / "controls" / f"{self.name}-{digest}"


def prepare_controls(
    wanted: Sequence[Wanted],
    store: TokenStore,
    dataset: Dataset,
    build_tokenizer: Build,
    data: DataHParams,
    progress: bool = True,
) -> list[ControlStore]:
    """The vectors of each control for all pieces of a store; those that are not there yet are made in one reading.

    All builders must be picklable. HubError when a control knows nothing of any piece.
    """
    home = cache_folder()
    with storage(home):
        if not all(one.folder(store).exists() for one in wanted):
            with locked(home / "locks" / f"{store.folder.name}-controls", "another process prepares controls; waiting"):
                missing = [one for one in wanted if not one.folder(store).exists()]
                if missing:
                    _make(missing, store, dataset, build_tokenizer, data, progress)
        return [ControlStore(one.folder(store), store) for one in wanted]


def _make(
    wanted: Sequence[Wanted],
    store: TokenStore,
    dataset: Dataset,
    build_tokenizer: Build,
    data: DataHParams,
    progress: bool,
) -> None:
    infos = [info for split in SPLITS for info in store.pieces(split)]
    builders = [one.build for one in wanted]
    (store.folder / "controls").mkdir(exist_ok=True)
    with ExitStack() as stack:
        parts = [_Part(stack.enter_context(atomic_folder(one.folder(store))), one) for one in wanted]
        engine = stack.enter_context(chosen())
        results = spread(
            partial(vectors, builders, build_tokenizer, store.tokenizer_folder, survey.reader(dataset)),
            [Item(info.path, info.index) for info in infos],
            machines=Machines(engine).seeing(store.folder) if engine is not None else None,
            workers=data.workers,
            seconds=data.seconds_per_file,
            megabytes=data.megabytes_per_worker,
            progress="controls" if progress else "",
            warm=partial(tokenizer_of, build_tokenizer, store.tokenizer_folder),
        )
        for (_, result), info in zip(results, infos, strict=True):
            found = [result.reason] * len(parts) if isinstance(result, Failure) else result
            for part, one in zip(parts, found, strict=True):
                part.take(info, one)
        for part in parts:
            part.close()


class _Part:
    """The vectors of one control in the making."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self._folder, self._wanted = folder, wanted
        self._dim = wanted.build().dim
        self._counts: list[int] = []
        self._reasons: list[str] = []

    def take(self, info: PieceInfo, found: Vectors | str) -> None:
        """Appends what is known of a piece, or why nothing is."""
        if isinstance(found, str):
            self._reasons.append(f"{info.source}: {found}")
            self._counts.append(0)
            return
        if len(found) not in (1, info.tokens):
            raise HubError(
                f"control {self._wanted.name} has {len(found)} rows for {info.source}; expected 1 or {info.tokens}"
            )
        with (self._folder / "values.bin").open("ab") as file:
            file.write(found.astype("<f4").tobytes())
        self._counts.append(len(found))

    def close(self) -> None:
        """Writes what leads through the vectors; HubError when there are none."""
        name, unknown = self._wanted.name, len(self._reasons)
        if unknown:
            told = "%s is unknown of %d of %d pieces, first %s"
            logger.warning(told, name, unknown, len(self._counts), self._reasons[0])
        if unknown == len(self._counts):
            raise HubError(f"model.controls: {name} is known of no piece; {self._reasons[0]}")
        np.save(self._folder / "offsets.npy", np.cumsum([0, *self._counts], dtype=np.int64), allow_pickle=False)
        values = self._folder / "values.bin"
        content = {"format": FORMAT, "name": name, "dim": self._dim, "unknown": unknown}
        content |= {"bytes": values.stat().st_size, "sha256": checksum(values)}
        write_json(self._folder / "manifest.json", content)


def vectors(
    builders: Sequence[Callable[[], Control]], build_tokenizer: Build, folder: Path, read: Read, item: Item
) -> list[Vectors | str]:
    """What each control knows of one item (r c), or why it knows nothing."""
    tokenizer, piece = tokenizer_of(build_tokenizer, folder), read(item)
    ids = tokenizer.encode(piece)
    found: list[Vectors | str] = []
    for build in builders:
        try:
            found.append(_checked(build(), piece, ids, tokenizer))
        except ValueError as error:
            found.append(str(error))
    return found


def _checked(control: Control, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
    """What a control knows of a piece (r c); ValueError when it knows nothing, or gives what is no such array."""
    found = np.asarray(control.of(piece, ids, tokenizer), dtype=np.float32)
    rows = found[None] if found.ndim == 1 else found
    if rows.ndim != 2 or rows.shape[1] != control.dim or len(rows) not in (1, len(ids)):
        raise ValueError(f"it gives shape {found.shape}; expected ({control.dim},) or ({len(ids)}, {control.dim})")
    if not np.isfinite(rows).all():
        raise ValueError("it gives what is no finite number")
    return rows
