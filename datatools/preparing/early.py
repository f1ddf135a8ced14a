"""Tokens made while a dataset is read for the first time, so that no piece is read twice, whatever interrupts it.

Where a piece will stand in the store is known only when all are split, so its tokens wait in early.bin beside the
store: for each piece a line of JSON, [path, index, tokens, notes told, remarks, losses by cause], with the tokens
behind it, or the first two and why there are none. The file goes when the store is whole.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from core.contracts.dataset import Item
from core.log import logger
from datatools.preparing.encoding import Build, Read, Told, encode_piece, listening, token_type, tokenizer_of
from datatools.preparing.survey import Measured, measure_piece
from datatools.workers.pool import Failure
from datatools.workers.worker import reason

_NONE = np.zeros(0, dtype=np.uint32)


class Early:
    """Reads, measures and tokenizes pieces with the tokenizer that `home` holds, and keeps the tokens beside it."""

    def __init__(self, build: Build, home: Path, sizes: Sequence[int], read: Read) -> None:
        self.home = home
        self.function = partial(measure_and_encode, build, home, read)
        self.warm = partial(tokenizer_of, build, home)
        self._type = token_type(sizes)
        self._streams = len(sizes)
        self._found: dict[tuple[str, int], _Place | Failure] = {}
        self._end = 0  # bytes
        self._path = home.with_name("early.bin")
        self._file = self._path.open("a+b")
        self._resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            self._path.unlink()

    def keep(self, item: Item, found: tuple[Measured, Told | Failure]) -> Measured:
        """Sets the tokens aside; what was measured."""
        measured, told = found
        head: list[Any] = [item.path, item.index]
        tokens = b""
        if isinstance(told, Told):
            head += [len(told.ids), told.told, told.remarks, told.lost]
            tokens = told.ids.astype(self._type).tobytes()
        else:
            head.append(told.reason)
        line = json.dumps(head).encode() + b"\n"
        self._file.write(line + tokens)
        key, self._found[key], self._end = self._placed(head, self._end + len(line))
        return measured

    def __contains__(self, item: Item) -> bool:
        return (item.path, item.index) in self._found

    def __getitem__(self, item: Item) -> Told | Failure:
        found = self._found[item.path, item.index]
        if isinstance(found, Failure):
            return found
        self._file.seek(found.offset)
        ids = np.frombuffer(self._file.read(found.size), dtype=self._type)
        shape = (-1,) if self._streams == 1 else (-1, self._streams)
        return replace(found.told, ids=ids.reshape(shape).astype(np.uint32))

    def _placed(self, head: Any, offset: int) -> tuple[tuple[str, int], "_Place | Failure", int]:
        """The piece that a line tells of, its tokens, which begin at `offset`, and where they end; else ValueError."""
        match head:
            case [str(path), int(index), str(why)]:
                return (path, index), Failure(why), offset
            case [str(path), int(index), int(tokens), int(told), str(remarks), dict(lost)] if tokens >= 0:
                size = tokens * self._streams * self._type.itemsize
                return (path, index), _Place(offset, size, Told(_NONE, told, remarks, lost)), offset + size
        raise ValueError("it tells of no piece")

    def _resume(self) -> None:
        """Finds what an interrupted preparation has made; the file is cut behind the last piece that is whole."""
        written = self._file.seek(0, os.SEEK_END)
        while self._end < written:
            self._file.seek(self._end)
            line = self._file.readline()
            try:
                key, found, end = self._placed(json.loads(line), self._end + len(line))
            except ValueError as error:
                if line.endswith(b"\n"):  # else cut short by a kill
                    what = f"{self._path} is damaged at byte {self._end} ({error})"
                    logger.warning("%s; the pieces from there on are tokenized again", what)
                break
            if end > written:
                break
            self._found[key], self._end = found, end
        self._file.truncate(self._end)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the tokens of a piece wait, in bytes, and what else is told of them."""

    offset: int
    size: int
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
