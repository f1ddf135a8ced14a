"""Tokens made while a dataset is read for the first time, so that no piece is read twice, whatever interrupts it.

Where a piece will stand in the store is known only when all are split, so its tokens wait in early.bin beside the
store, and early.jsonl says where: a line is [path, index, tokens, notes told, remarks, losses by cause], or the first
two and why there are none. Both go when the store is whole.
"""

import json
import math
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
        self._end = 0  # of the tokens, in bytes
        self._paths = home.with_name("early.bin"), home.with_name("early.jsonl")
        self._tokens, self._log = (path.open("a+b") for path in self._paths)
        self._resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tokens.close()
        self._log.close()
        if kind is None:
            for path in self._paths:
                path.unlink()

    def keep(self, item: Item, found: tuple[Measured, Told | Failure]) -> Measured:
        """Sets the tokens aside; what was measured."""
        measured, told = found
        line: list[Any] = [item.path, item.index]
        if isinstance(told, Told):
            self._tokens.write(told.ids.astype(self._type).tobytes())
            self._tokens.flush()  # before the line that vouches for it
            line += [len(told.ids), told.told, told.remarks, told.lost]
        else:
            line.append(told.reason)
        self._log.write(json.dumps(line).encode() + b"\n")
        self._log.flush()
        self._note(line)
        return measured

    def __contains__(self, item: Item) -> bool:
        return (item.path, item.index) in self._found

    def __getitem__(self, item: Item) -> Told | Failure:
        found = self._found[item.path, item.index]
        if isinstance(found, Failure):
            return found
        self._tokens.seek(found.offset)
        ids = np.frombuffer(self._tokens.read(found.size), dtype=self._type)
        shape = (-1,) if self._streams == 1 else (-1, self._streams)
        return replace(found.told, ids=ids.reshape(shape).astype(np.uint32))

    def _note(self, line: Any, written: float = math.inf) -> None:
        """Takes down what a line says; ValueError when it is no such line, or of tokens beyond the bytes `written`."""
        match line:
            case [str(path), int(index), str(why)]:
                self._found[path, index] = Failure(why)
            case [str(path), int(index), int(tokens), int(told), str(remarks), dict(lost)] if tokens >= 0:
                size = tokens * self._streams * self._type.itemsize
                if self._end + size > written:
                    raise ValueError(f"its tokens are not in {self._paths[0].name}")
                self._found[path, index] = _Place(self._end, size, Told(_NONE, told, remarks, lost))
                self._end += size
            case _:
                raise ValueError("it tells of no piece")

    def _resume(self) -> None:
        """Finds what an interrupted preparation has made; both files are cut behind the last piece that is whole."""
        written, whole = os.fstat(self._tokens.fileno()).st_size, 0
        self._log.seek(0)
        for number, line in enumerate(self._log, 1):
            if not line.endswith(b"\n"):  # cut short by a kill
                break
            try:
                self._note(json.loads(line), written)
            except ValueError as error:
                what = f"{self._paths[1]} is damaged in line {number} ({error})"
                logger.warning("%s; the pieces from there on are tokenized again", what)
                break
            whole += len(line)
        self._log.truncate(whole)
        self._tokens.truncate(self._end)


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
