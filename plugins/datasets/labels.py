"""labels.csv: what a person says of the files in a folder, a row a file, in a column `file` and any others."""

import csv
import os
from collections import defaultdict
from functools import lru_cache
from pathlib import Path, PurePosixPath

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.log import logger
from core.words import agree, counted
from datatools.fetching.search import Found
from datatools.preparing.survey import read_item, short

NAME, FILE = "labels.csv", "file"
MEANT = ("filename", "file_name", "path", "filepath", "file_path", "name", "files")  # for FILE
SIGNS = {"semicolons": ";", "tabs": "\t"}  # what other programs put between cells
Table = dict[str, dict[str, str]]  # path below the folder, with slashes -> column -> word


def table(root: Path) -> Table:
    """The rows of a folder's labels.csv, empty cells left out; nothing without one. HubError where it is no table."""
    path = root / NAME
    return _table(str(path), path.stat().st_mtime_ns) if path.is_file() else {}


def usable(root: Path) -> Table:
    """The rows, none where it is no table: who asks for no label needs none."""
    try:
        return table(root)
    except HubError:
        return {}


def columns(labelled: Table, found: Found) -> dict[str, list[str]]:
    """Column -> its words, over the files found; files without a row, and rows without a file, are told."""
    names = [path.relative_to(found.root).as_posix() for path in found.files]
    bare, strange = [name for name in names if name not in labelled], sorted(set(labelled).difference(names))
    if labelled and bare:
        none = f"{agree(len(bare), 'has', 'have')} no row in {NAME}"
        logger.warning("%d of %s %s, first %s", len(bare), counted(len(names), "file"), none, bare[0])
    if strange:
        told = "%s names files that are not in %s, first %s (%d in all)"
        logger.warning(told, NAME, found.root, strange[0], len(strange))
    words: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for column, word in labelled.get(name, {}).items():
            words[column].append(word)
    return dict(words)


def read(root: str, item: Item) -> Piece:
    """The piece of an item below the folder `root`, with its labels; called in worker processes."""
    piece = read_item(item)
    piece.labels = usable(Path(root)).get(short(item.path, root), {})
    return piece


def _mend(head: list[str]) -> str:
    """What to do about a first line without a column `file`, where that is clear."""
    near = [] if FILE in head else [name for name in head if name.lower() in (FILE, *MEANT)]
    parted = [name for name, sign in SIGNS.items() if len(head) == 1 and sign in head[0]]
    if parted:
        return f"; it is parted by {parted[0]}, not by commas: save it with commas"
    return f"; rename {near[0]} to {FILE}" if near else ""


@lru_cache(maxsize=4)
def _table(path: str, modified: int) -> Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            head = [cell.strip() for cell in next(rows, [])]
            if not any(head):
                empty = "is empty" if not os.path.getsize(path) else "begins with an empty line"
                raise HubError(f"{path} {empty}; expected a first line such as {FILE},genre, and then a row a file")
            if FILE not in head or len(set(head)) != len(head):
                raise HubError(
                    f"{path} has columns {', '.join(head)}; expected different ones, one of them {FILE}{_mend(head)}"
                )
            place = head.index(FILE)
            found: Table = {}
            for row in rows:
                if not row:
                    continue
                if len(row) != len(head):
                    told = counted(len(row), "cell")
                    raise HubError(f"{path} has {told} in line {rows.line_num}; expected {len(head)}")
                name = PurePosixPath(row[place].strip()).as_posix()
                if name in found:
                    raise HubError(f"{path} names {name} again in line {rows.line_num}; expected a row for each file")
                cells = zip(head, row, strict=True)
                found[name] = {column: cell.strip() for column, cell in cells if column != FILE and cell.strip()}
            return found
    except (UnicodeDecodeError, csv.Error) as error:
        raise HubError(f"{path} cannot be read as a table ({error}); expected UTF-8 with commas") from error
