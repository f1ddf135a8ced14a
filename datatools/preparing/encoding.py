"""Pieces to tokens in workers, appended to a file that an interrupted preparation can go on with."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer, vocab_sizes
from core.log import logger
from core.words import agree, counted
from datatools.preparing import survey
from datatools.preparing.losses import losses_of
from datatools.workers.executors import Machines, spread
from datatools.workers.pool import Failure
from datatools.workers.worker import reason
from hparams.base import DataHParams

if TYPE_CHECKING:
    from datatools.preparing.early import Early

MOST_REMARKS = 1000  # characters about one piece
Build = Callable[[Path | None], Tokenizer]
Read = Callable[[Item], Piece]


@dataclass(frozen=True, slots=True)
class Encoded:
    """How one item went: its tokens, or the reason why it has none; a line of progress.jsonl is the list of its fields.

    `told` counts the notes that the tokens decode to, `remarks` is what reader and tokenizer had to say, `lost` counts
    what the tokens do not tell, by cause.
    """

    source: str
    tokens: int
    told: int = 0
    remarks: str = ""
    failure: str = ""
    limited: bool = False
    lost: dict[str, int] = field(default_factory=dict)


def token_type(sizes: Sequence[int]) -> np.dtype[Any]:
    """The smallest unsigned type that holds every id of every stream, `sizes` counting their vocabularies."""
    return np.dtype("<u2" if max(sizes) <= 2**16 else "<u4")


def encode_all(
    folder: Path,
    build: Build,
    sizes: Sequence[int],
    read: Read,
    rows: Sequence[survey.Row],
    data: DataHParams,
    progress: bool,
    machines: Machines | None = None,
    early: "Early | None" = None,
) -> list[Encoded]:
    """Appends the tokens of all rows to tokens.bin in `folder`, whose tokenizer/ workers build from.

    progress.jsonl says what is in tokens.bin already; `early` holds what was made beforehand.
    """
    dtype = token_type(sizes)
    done = _resume(folder, dtype.itemsize * len(sizes), [row.source for row in rows], data)
    names = {row.item: row.source for row in rows[len(done) :]}
    with (folder / "tokens.bin").open("ab") as tokens, (folder / "progress.jsonl").open("a") as log:
        ready: Early | dict[Item, Told | Failure] = {} if early is None else early
        spreading = spread(
            partial(encode, build, folder / "tokenizer", read),
            [item for item in names if item not in ready],
            machines=machines and machines.seeing(folder / "tokenizer"),
            workers=data.workers,
            seconds=data.seconds_per_file,
            megabytes=data.megabytes_per_worker,
            progress="tokenizing" if progress else "",
            warm=partial(tokenizer_of, build, folder / "tokenizer"),
        )
        for item in names:
            made = item in ready
            result = ready[item] if made else next(spreading)[1]
            if isinstance(result, Failure):
                why = result.reason.removeprefix(f"{item.path}#{item.index}: ").removeprefix(f"{item.path}: ")
                done.append(Encoded(names[item], 0, failure=why, limited=result.limited))
            else:
                tokens.write(result.ids.astype(dtype).tobytes())
                done.append(Encoded(names[item], len(result.ids), result.told, result.remarks, lost=result.lost))
            log.write(json.dumps([getattr(done[-1], name) for name in Encoded.__slots__]) + "\n")
            if not made:  # or it is soon made again
                tokens.flush()  # before the line that vouches for it
                log.flush()
        os.fsync(tokens.fileno())
    return done


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker sends back: ids (n,) or (n, streams), the notes they decode to, remarks, losses by cause."""

    ids: NDArray[np.uint32]
    told: int
    remarks: str
    lost: dict[str, int]


_built: dict[Path, Tokenizer] = {}


def tokenizer_of(build: Build, folder: Path) -> Tokenizer:
    """The tokenizer that `folder` holds, built once in a process."""
    if folder not in _built:
        survey.warm()
        _built[folder] = build(folder)
    return _built[folder]


def encode(build: Build, folder: Path, read: Read, item: Item) -> Told:
    """One item as ids; ValueError when the tokenizer cannot tell it, tells what it must not, or cannot decode it."""
    return encode_piece(tokenizer_of(build, folder), read(item))


def encode_piece(tokenizer: Tokenizer, piece: Piece, before: Sequence[str] = ()) -> Told:
    """A piece as ids, ValueError as `encode`; `before` are remarks that were heard already."""
    with listening() as remarks:
        given = np.asarray(tokenizer.encode(piece))
    if given.size and given.dtype.kind not in "iu":  # a cast would make a whole number of 60.5
        raise ValueError(f"the tokenizer gives ids of type {given.dtype}; expected whole numbers")
    ids = given.astype(np.int64)
    _check(tokenizer, ids)
    heard = [*getattr(piece, "remarks", ()), *before, *remarks]
    said = "; ".join(dict.fromkeys(remark.removeprefix(f"{piece.source}: ") for remark in heard))[:MOST_REMARKS]
    told = _told(tokenizer, ids.tolist())
    notes = sum(len(track.notes) for track in told.score.tracks)
    return Told(ids.astype(np.uint32), notes, said, losses_of(piece, told))


def _check(tokenizer: Tokenizer, ids: NDArray[np.int64]) -> None:
    """ValueError unless these are ids that a store may hold."""
    sizes = vocab_sizes(tokenizer)
    if not ids.size:
        raise ValueError("the tokenizer gives no token")
    if ids.shape[1:] != (() if len(sizes) == 1 else (len(sizes),)) or not ids.ndim:
        expected = "one stream" if len(sizes) == 1 else f"{len(sizes)} streams"
        raise ValueError(f"the tokenizer gives ids of shape {ids.shape}; expected {expected}")
    streams = ids.reshape(len(ids), -1)  # (n k)
    for stream, (column, size) in enumerate(zip(streams.T, sizes, strict=True)):
        if column.min() < 0 or column.max() >= size:
            where = "" if len(sizes) == 1 else f" in stream {stream}"
            raise ValueError(
                f"the tokenizer gives ids {column.min()} to {column.max()}{where}; expected 0 to {size - 1}"
            )
    if any((streams[:, 0] == own).any() for own in (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)):
        raise ValueError("the tokenizer gives its own pad, begin or end; the hub adds them")


def _told(tokenizer: Tokenizer, ids: Ids) -> Piece:
    """What the ids decode to, its score made, which shows what of the piece's is lost on the way."""
    try:
        decoded = tokenizer.decode(ids)
        assert decoded.score is not None
        return decoded
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"the tokenizer cannot decode the ids that it gives: {reason(error)}") from error


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collects what is logged for people to know; a worker has nobody else who listens."""
    heard: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    level, heard_already = logger.level, logger.isEnabledFor(logging.INFO)
    logger.addHandler(handler)
    if not heard_already:  # a change of level empties the caches of all loggers
        logger.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)
        if not heard_already:
            logger.setLevel(level)


def _resume(folder: Path, token_bytes: int, sources: Sequence[str], data: DataHParams) -> list[Encoded]:
    """What is safely in tokens.bin, which is cut behind the last piece of it.

    The first line of progress.jsonl has the limits; where they are larger now, a piece that they stopped is tried
    again, and so are those behind it.
    """
    log, tokens = folder / "progress.jsonl", folder / "tokens.bin"
    size = tokens.stat().st_size if tokens.exists() else 0
    head, *lines = log.read_text(encoding="ascii", errors="replace").splitlines(keepends=True) if log.exists() else [""]
    limits = [data.seconds_per_file, data.megabytes_per_worker]
    try:
        larger = any(now > then for now, then in zip(limits, json.loads(head), strict=True))
    except (ValueError, TypeError):
        lines, larger = [], False
    done: list[Encoded] = []
    total = 0
    for line, source in zip(lines, sources, strict=False):
        if not line.endswith("\n"):  # cut short by a kill
            break
        try:
            piece = Encoded(*json.loads(line))
            end = total + piece.tokens * token_bytes
        except (ValueError, TypeError):
            logger.warning("%s is damaged in line %d; the pieces from there on are tokenized again", log, len(done) + 2)
            break
        if piece.source != source or end > size or (piece.limited and larger):
            break
        total = end
        done.append(piece)
    log.write_text(json.dumps(limits) + "\n" + "".join(lines[: len(done)]))
    with tokens.open("ab") as file:
        file.truncate(total)
    if done:
        are = agree(len(done), "is", "are")
        logger.info(f"going on behind {counted(len(done), 'piece')} that {are} tokenized already")
    return done
