"""Tokens made while a dataset is read for the first time, so that no piece is read twice.

Where a piece will stand in the store is known only when all are split, so its tokens wait in a file without a name.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from core.contracts.dataset import Item
from datatools.preparing.encoding import Build, Read, Told, encode_piece, listening, token_type, tokenizer_of
from datatools.preparing.survey import Measured, measure_piece
from datatools.workers.pool import Failure
from datatools.workers.worker import reason


class Early:
    """Reads, measures and tokenizes pieces with the tokenizer that `home` holds, and keeps the tokens."""

    def __init__(self, build: Build, home: Path, sizes: Sequence[int], read: Read) -> None:
        self.home = home
        self.function = partial(measure_and_encode, build, home, read)
        self.warm = partial(tokenizer_of, build, home)
        self._type = token_type(sizes)
        self._places: dict[Item, _Place | Failure] = {}
        self._file: Any = tempfile.TemporaryFile(dir=home.parents[1])  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def keep(self, item: Item, found: tuple[Measured, Told | Failure]) -> Measured:
        """Sets the tokens aside; what was measured."""
        measured, told = found
        if isinstance(told, Told):
            place = self._file.tell()
            self._file.write(told.ids.astype(self._type).tobytes())
            self._places[item] = _Place(place, told.ids.shape, replace(told, ids=told.ids[:0]))
        else:
            self._places[item] = told
        return measured

    def __contains__(self, item: Item) -> bool:
        return item in self._places

    def __getitem__(self, item: Item) -> Told | Failure:
        found = self._places[item]
        if isinstance(found, Failure):
            return found
        self._file.seek(found.offset)
        size = int(np.prod(found.shape)) * self._type.itemsize
        ids = np.frombuffer(self._file.read(size), dtype=self._type).reshape(found.shape)
        return replace(found.told, ids=ids.astype(np.uint32))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the tokens of a piece wait, in bytes, their shape, and what else is told of them."""

    offset: int
    shape: tuple[int, ...]
    told: Told


def measure_and_encode(build: Build, folder: Path, read: Read, item: Item) -> tuple[Measured, Told | Failure]:
    """One item measured and as ids, or why it has none; ValueError when it holds no usable music."""
    tokenizer, piece = tokenizer_of(build, folder), read(item)
    with listening() as remarks:
        measured = measure_piece(piece)
    try:
        return measured, encode_piece(tokenizer, piece, remarks)
    except ValueError as error:
        return measured, Failure(reason(error))
