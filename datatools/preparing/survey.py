"""The first look at a dataset: each piece is read once, measured, keyed and sketched; bad ones are named.

The result depends on the dataset alone, so that every tokenizer shares it. It grows line by line, and an interrupted
one goes on where it stopped.
"""

import base64
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from core.contracts.dataset import Dataset, Item
from core.contracts.piece import Piece
from core.log import logger
from datatools.preparing.asking import items_of
from datatools.preparing.duplicates import Sketch, exact_key, sketch
from datatools.preparing.losses import contents
from datatools.reading import kept as readings
from datatools.storage import cache_folder
from datatools.workers.executors import Machines, spread
from datatools.workers.pool import Failure
from hparams.base import DataHParams

if TYPE_CHECKING:
    from datatools.preparing.early import Early

FORMAT = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What the survey knows about one item.

    `failure` is empty or the reason why it cannot be used, `limited` whether larger limits might help.
    """

    item: Item
    source: str
    failure: str = ""
    limited: bool = False
    title: str = ""
    sha256: str = ""
    notes: int = 0
    seconds: float = 0.0
    programs: bool = False
    velocities: bool = False
    tempos: bool = False
    key: str = ""
    sketch: bytes = b""

    @property
    def minhash(self) -> Sketch:
        """The sketch as an array."""
        return np.frombuffer(self.sketch, dtype="<u4")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a worker sends back about a piece; whether it has instruments, loudness and tempos to tell."""

    title: str
    sha256: str
    notes: int
    seconds: float
    programs: bool
    velocities: bool
    tempos: bool
    key: str
    sketch: bytes


def reader(dataset: Dataset) -> Callable[[Item], Piece]:
    """How to read this dataset's items: its own `read`, or the hub's readers of files."""
    own = getattr(dataset, "read", None)
    return cast(Callable[[Item], Piece], own) if own is not None else read_item


def read_item(item: Item) -> Piece:
    """Reads an item with the hub's readers."""
    return readings.read(item.path, item.index, cache_folder() / "readings")


def measure(read: Callable[[Item], Piece], item: Item) -> Measured:
    """Reads one item and measures it; ValueError when it holds no usable music."""
    return measure_piece(read(item))


def measure_piece(piece: Piece) -> Measured:
    """What the survey wants to know of a piece; ValueError when it holds no usable music."""
    score = piece.score
    notes = score.note_num()
    if not notes:
        raise ValueError("it has no notes")
    seconds = float(score.to("second").end())
    kept = sketch(score).astype("<u4").tobytes()
    return Measured(piece.title, piece.sha256, notes, seconds, *contents(score), exact_key(score), kept)


def warm() -> None:
    """Runs in a worker before its first item: having imported this module, it has the readers and their libraries.

    What is logged for people to know is heard by `encoding.listening`, and a change of level takes as long as a piece.
    """
    logger.setLevel(logging.INFO)


def survey(
    dataset: Dataset,
    path: Path,
    data: DataHParams,
    fingerprint: str,
    progress: bool,
    machines: Machines | None = None,
    early: "Early | None" = None,
) -> list[Row]:
    """A row for each item, in the order of the items; kept in `path` as JSON lines, where a later line holds.

    `early` takes the tokens of what is read.
    """
    items = items_of(dataset)
    names = names_of(dataset, items)
    done = _load(path, fingerprint)
    rows = {
        item: replace(row, item=item)
        for item, name in names.items()
        if (row := done.get((name, item.index))) and not row.limited  # the limits may be others today
    }
    missing = [item for item in items if item not in rows]
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not done
        with path.open("w" if fresh else "a", encoding="utf-8") as file:
            if fresh:
                file.write(json.dumps({"format": FORMAT, "fingerprint": fingerprint}) + "\n")
            for item, result in _measured(dataset, missing, data, progress, machines, early):
                rows[item] = _row(item, names[item], result)
                file.write(_line(rows[item]) + "\n")
    return [rows[item] for item in items]


def _measured(
    dataset: Dataset,
    items: Sequence[Item],
    data: DataHParams,
    progress: bool,
    machines: Machines | None,
    early: "Early | None",
) -> Iterator[tuple[Item, Measured | Failure]]:
    """Each item with what was measured, or why nothing can be; with `early`, what fails is tried by itself again."""
    alone: list[Item] = []
    function: Callable[[Item], Any] = partial(measure, reader(dataset)) if early is None else early.function
    pairs = spread(
        function,
        items,
        machines=machines.seeing(early.home) if machines is not None and early is not None else machines,
        workers=data.workers,
        seconds=data.seconds_per_file,
        megabytes=data.megabytes_per_worker,
        progress="reading" if progress else "",
        warm=early.warm if early is not None else warm,
    )
    for item, result in pairs:
        if early is None:
            yield item, result
        elif isinstance(result, Failure):  # in reading or in tokenizing, which is not the survey's business
            alone.append(item)
        else:
            yield item, early.keep(item, result)
    if alone:
        yield from _measured(dataset, alone, data, False, machines, None)


def skipped(dataset: Dataset) -> list[tuple[str, str]]:
    """(name, reason) of what lies in the dataset and is no item, where it tells."""
    tell: Callable[[], Iterable[tuple[str, str]]] | None = getattr(dataset, "skipped", None)
    return list(tell()) if tell is not None else []


def names_of(dataset: Dataset, items: Iterable[Item]) -> dict[Item, str]:
    """What people know each item by: its path below the dataset's root, and the number of a tune in its book."""
    root = getattr(dataset, "root", None)
    books = {item.path for item in items if item.index}
    return {item: short(item.path, root) + (f"#{item.index}" if item.path in books else "") for item in items}


def short(path: str, root: str | Path | None) -> str:
    """A path below `root`, with slashes on every system; else the path as it is."""
    if root is None:
        return path
    if path.startswith(above := f"{root}{os.sep}"):  # as nearly all do: `Path` takes sixteen times as long
        return path.removeprefix(above).replace(os.sep, "/")
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:
        return path


def printable(text: str) -> str:
    """The text on one line, whatever a file was called."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _row(item: Item, name: str, result: Measured | Failure) -> Row:
    if isinstance(result, Failure):
        return Row(item, name, result.reason, result.limited)
    return Row(item, name, **_columns(result))


def _line(row: Row) -> str:
    columns = _columns(row) | {"index": row.item.index, "sketch": base64.b64encode(row.sketch).decode()}
    del columns["item"]
    return json.dumps(columns)


def _columns(row: Row | Measured) -> dict[str, Any]:
    """What it holds, by name; `asdict` would copy it all, deeply."""
    return {name: getattr(row, name) for name in row.__slots__}


def _row_of(line: bytes) -> Row:
    """The row that `_line` wrote, its item without a path; ValueError for anything else."""
    columns = json.loads(line)
    try:
        index = columns.pop("index")
        row = Row(Item("", index), **columns | {"sketch": base64.b64decode(columns["sketch"], validate=True)})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no row: {error}") from error
    kinds = {"item": Item, "limited": bool, "notes": int, "seconds": float, "sketch": bytes}
    kinds |= dict.fromkeys(("programs", "velocities", "tempos"), bool)
    for field in fields(row):
        if not isinstance(getattr(row, field.name), kinds.get(field.name, str)):
            raise ValueError(f"its {field.name} is no {kinds.get(field.name, str).__name__}")
    if not isinstance(index, int) or len(row.sketch) % 4:
        raise ValueError("its index or sketch is damaged")
    return row


def _load(path: Path, fingerprint: str) -> dict[tuple[str, int], Row]:
    """The rows written so far, less a line that was cut short; none where they are of other data.

    A line that is damaged is named in a warning; it and all behind it are read again.
    """
    rows: dict[tuple[str, int], Row] = {}
    if not path.exists():
        return rows
    whole = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):  # cut short by a kill
                break
            try:
                if number > 1:
                    row = _row_of(line)
                    rows[row.source, row.item.index] = row
                elif json.loads(line) != {"format": FORMAT, "fingerprint": fingerprint}:
                    raise ValueError("it is not the head of this survey")
            except ValueError as error:
                logger.warning("%s is damaged in line %d (%s); read again from there on", path, number, error)
                break
            whole += len(line)
    if rows:
        with path.open("r+b") as file:
            file.truncate(whole)
    return rows
