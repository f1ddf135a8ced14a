"""What a published set says of its files, kept in a table below the cache, where workers look up a file at a time."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.files import atomic
from datatools.preparing.survey import read_item, short

Words = dict[str, str]  # column -> word or sentence


def words_of(found: Mapping[str, Any], columns: Iterable[str]) -> Words:
    """The columns that have something to say, as text; of a list, all of it, joined by commas."""
    said = {}
    for column in columns:
        value = found.get(column)
        text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        if text.strip():
            said[column] = text.strip()
    return said


def write(path: Path, rows: Iterable[tuple[str, Words]]) -> None:
    """Keeps what is said of each file, named by its path below the set's root."""
    with atomic(path) as temporary, closing(sqlite3.connect(temporary)) as base:
        base.execute("CREATE TABLE labels (file TEXT PRIMARY KEY, words TEXT)")
        lines = ((file, json.dumps(words)) for file, words in rows)
        base.executemany("INSERT INTO labels VALUES (?, ?)", lines)
        base.commit()


def load(path: Path) -> dict[str, Words]:
    """All that was kept, file by file, in their order."""
    with closing(sqlite3.connect(path)) as base:
        return {file: json.loads(words) for file, words in base.execute("SELECT * FROM labels ORDER BY file")}


def columns_of(said: Iterable[Words]) -> dict[str, list[str]]:
    """Column -> the words in it, of all files that have one."""
    found: dict[str, list[str]] = defaultdict(list)
    for words in said:
        for column, word in words.items():
            found[column].append(word)
    return dict(found)


def read(table: str, root: str, item: Item) -> Piece:
    """The piece of an item below `root`, with its labels; called in worker processes."""
    piece = read_item(item)
    rows = _opened(table).execute("SELECT words FROM labels WHERE file = ?", (short(item.path, root),)).fetchall()
    piece.labels = json.loads(rows[0][0]) if rows else {}
    return piece


@lru_cache(maxsize=2)
def _opened(table: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{Path(table).as_uri()}?mode=ro", uri=True)
