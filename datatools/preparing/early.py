"""Tokens made while a dataset is read for the first time, so that no piece is read twice, whatever interrupts it.

Where a piece will stand in the store is known only when all are split, so its tokens wait in early.bin beside the
store. There is a line for each piece: a checksum of all that is behind it, the bytes of the tokens, and in JSON [path,
index, notes told, remarks, losses by cause], or the first two and why there are no tokens; then the tokens. The file
goes when the store is whole.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

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
            head += [told.told, told.remarks, told.lost]
            tokens = told.ids.astype(self._type).tobytes()
        else:
            head.append(told.reason)
        rest = f"{len(tokens)} {json.dumps(head)}\n".encode()
        line = f"{crc32(rest + tokens)} ".encode() + rest
        self._file.write(line + tokens)
        self._place(head, self._end + len(line), len(tokens))
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

    def _place(self, head: list[Any], offset: int, size: int) -> None:
        """Notes that the tokens of a piece are the `size` bytes from `offset` on, which nothing is behind yet."""
        path, index, *told = head
        self._found[path, index] = Failure(*told) if len(told) == 1 else _Place(offset, size, Told(_NONE, *told))
        self._end = offset + size

    def _resume(self) -> None:
        """Finds what an interrupted preparation has made; the file is cut behind the last piece that is whole."""
        written = self._file.seek(0, os.SEEK_END)
        while self._end < written:
            self._file.seek(self._end)
            line = self._file.readline()
            checked, _, rest = line.partition(b" ")
            size, _, head = rest.partition(b" ")
            wanted = int(size) if size.isdigit() else 0
            tokens = self._file.read(min(wanted, written))
            if checked != str(crc32(rest + tokens)).encode():
                if line.endswith(b"\n") and len(tokens) == wanted:  # else cut short by a kill
                    what = f"{self._path} is damaged at byte {self._end}"
                    logger.warning("%s; the pieces from there on are tokenized again", what)
                break
            self._place(json.loads(head), self._end + len(line), len(tokens))
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
