"""Vectors of a control beside the tokens of a store: made once by workers, memory-mapped, known by their fingerprint.

Folder, inside the token store's: controls/NAME-KEY/ with values.bin (float32 rows), offsets.npy (pieces + 1) and
manifest.json. A piece has a row for each token, one for the whole piece, or none where the control knows nothing of it.

Shapes: r rows of a piece, c width of the control.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.control import Control, Vectors
from core.contracts.dataset import SPLITS, Dataset, Item, Split
from core.errors import HubError
from core.files import atomic_folder, checksum, write_json
from core.log import logger
from datatools.preparing import survey
from datatools.preparing.encoding import Build, Read, tokenizer_of
from datatools.preparing.store import TokenStore
from datatools.storage import cache_folder, locked, storage
from datatools.workers.executors import Machines, chosen, spread
from datatools.workers.pool import Failure
from hparams.base import DataHParams

FORMAT = 1
BuildControl = Callable[[], Control]


class ControlStore:
    """Reads the vectors of one control; HubError when they are not as they were written."""

    def __init__(self, folder: Path, store: TokenStore) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        values = folder / "values.bin"
        if checksum(values) != manifest["sha256"]:
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


def prepare_control(
    name: str,
    build_control: BuildControl,
    key: str,
    store: TokenStore,
    dataset: Dataset,
    build_tokenizer: Build,
    data: DataHParams,
    progress: bool = True,
) -> ControlStore:
    """The vectors of a control for all pieces of a store, made when they are not there yet.

    `key` changes whenever the control's hyper-parameters or version do; both builders must be picklable.
    """
    folder = store.folder / "controls" / f"{name}-{hashlib.sha256(f'{FORMAT} {key}'.encode()).hexdigest()[:16]}"
    home = cache_folder()
    with storage(home):
        if not folder.exists():
            with locked(home / "locks" / f"{store.folder.name}-{name}", f"another process prepares {name}; waiting"):
                if not folder.exists():
                    _make(folder, name, build_control, store, dataset, build_tokenizer, data, progress)
        return ControlStore(folder, store)


def _make(
    folder: Path,
    name: str,
    build_control: BuildControl,
    store: TokenStore,
    dataset: Dataset,
    build_tokenizer: Build,
    data: DataHParams,
    progress: bool,
) -> None:
    infos = [info for split in SPLITS for info in store.pieces(split)]
    lengths = [int(length) for split in SPLITS for length in store.lengths(split)]
    function = partial(vectors, build_control, build_tokenizer, store.tokenizer_folder, survey.reader(dataset))
    counts: list[int] = []
    reasons: list[tuple[str, str]] = []
    folder.parent.mkdir(exist_ok=True)
    with atomic_folder(folder) as part, chosen() as engine, (part / "values.bin").open("wb") as file:
        machines = Machines(engine).seeing(store.folder) if engine is not None else None
        results = spread(
            function,
            [Item(info.path, info.index) for info in infos],
            machines=machines,
            workers=data.workers,
            seconds=data.seconds_per_file,
            megabytes=data.megabytes_per_worker,
            progress=name if progress else "",
            warm=partial(tokenizer_of, build_tokenizer, store.tokenizer_folder),
        )
        for (_, result), info, length in zip(results, infos, lengths, strict=True):
            if isinstance(result, Failure):
                reasons.append((info.source, result.reason))
                counts.append(0)
                continue
            if len(result) not in (1, length):
                raise HubError(f"control {name} gives {len(result)} rows for {info.source}; expected 1 or {length}")
            file.write(result.astype("<f4").tobytes())
            counts.append(len(result))
        file.flush()
        np.save(part / "offsets.npy", np.cumsum([0, *counts], dtype=np.int64), allow_pickle=False)
        dim = build_control().dim
        content: dict[str, Any] = {"format": FORMAT, "name": name, "dim": dim, "unknown": len(reasons)}
        write_json(part / "manifest.json", content | {"sha256": checksum(part / "values.bin")})
    if reasons:
        logger.warning("%s is unknown of %d of %d pieces, first %s: %s", name, len(reasons), len(infos), *reasons[0])
    if len(reasons) == len(infos):
        raise HubError(f"model.controls: {name} is known of no piece; {reasons[0][0]}: {reasons[0][1]}")


def vectors(build_control: BuildControl, build_tokenizer: Build, folder: Path, read: Read, item: Item) -> Vectors:
    """What a control knows of one item (r c); ValueError when it knows nothing, or gives what is no such array."""
    tokenizer, control, piece = tokenizer_of(build_tokenizer, folder), build_control(), read(item)
    ids = tokenizer.encode(piece)
    found = np.asarray(control.of(piece, ids, tokenizer), dtype=np.float32)
    rows = found[None] if found.ndim == 1 else found
    if rows.ndim != 2 or rows.shape[1] != control.dim or len(rows) not in (1, len(ids)):
        raise ValueError(f"it gives shape {found.shape}; expected ({control.dim},) or ({len(ids)}, {control.dim})")
    if not np.isfinite(rows).all():
        raise ValueError("it gives what is no finite number")
    return rows
