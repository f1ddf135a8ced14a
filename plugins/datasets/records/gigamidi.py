"""GigaMIDI (Lee et al., TISMIR 2025): tables of Parquet whose rows hold `md5`, a file's bytes in `music`, and more.

The split is the published one, train, validation and test, as the names of files or folders have it; a table whose name
tells no side is split by md5, e validating and f testing, and so are all where their names tell but one side. The other
columns of words and numbers are labels.
"""

import hashlib
import importlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from datatools.fetching import search, sources
from datatools.preparing.survey import short
from datatools.reading.midi import reader
from datatools.reading.scores import piece_from_score
from hparams.datasets import GigaMidiHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import by_md5
from plugins.datasets.midi_sets.table import words_of
from plugins.datasets.records.named_sides import sides_of

AGAIN = "fetch it again"
EXPECTED = "tables of GigaMIDI, *.parquet (https://huggingface.co/datasets/Metacreation/GigaMIDI)"
# Columns that a table must have, and how their types may be called.
NEEDED = {
    "md5": ("string", "large_string", "string_view"),
    "music": ("binary", "large_binary", "binary_view"),
}


class GigaMidi:
    """A row is an item."""

    license = "CC BY-NC 4.0 (not for commercial use)"
    url = "https://huggingface.co/datasets/Metacreation/GigaMIDI"

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = f"gigamidi {Path(path).expanduser().resolve()}"

    def prepare(self, folder: Path) -> None:
        """Finds the tables; HubError where there are none, or a column is missing."""
        self.folder = folder
        given = sources.given(self.path, EXPECTED) if self.path else None
        if given is not None and given.suffix == ".parquet":
            self.root, self.files = given.parent, [given]
        else:
            self.root = sources.root(self.path, EXPECTED, None, folder)
            self.files = search.search(self.root, {".parquet"}).files
        if not self.files:
            raise HubError(f"dataset.path is {self.root}, which holds no file of it; expected {EXPECTED}")
        for path in self.files:
            _check(path)

    def fingerprint(self) -> str:
        content = search.fingerprint(search.Found(self.root, self.files), self.folder / "checksums.json")
        return hashlib.sha256(f"gigamidi 1 {content}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        filled = [path for path in self.files if _table(str(path)).metadata.num_rows]
        names = [short(str(path), self.root) for path in filled]
        for path, side in zip(
            filled, sides_of("gigamidi", names, "md5s decide, e validating and f testing"), strict=True
        ):
            for index, name in enumerate(_table(str(path)).read(["md5"])["md5"].to_pylist()):
                yield Item(str(path), index, "", side or by_md5(str(name)))

    def labels(self) -> dict[str, list[str]]:
        """Column -> the words in it."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.files:
            for row in _table(str(path)).read(_columns(str(path))).to_pylist():
                for column, word in words_of(row, row).items():
                    found[column].append(word)
        return dict(found)

    @cached_property
    def read(self) -> Callable[[Item], Piece]:
        """The reader that workers are sent."""
        return read


def read(item: Item) -> Piece:
    """The piece in a row, with its labels; ValueError with the reason when it cannot be read."""
    row = _row(item.path, item.index)
    data = row["music"]
    if not data:
        raise ValueError("its row holds no music")
    source = f"{item.path}#{item.index}"
    score, remarks = reader.score(data)
    title = str(row.get("title") or row["md5"])
    piece = piece_from_score(
        score, source=source, title=title, sha256=hashlib.sha256(data).hexdigest(), remarks=remarks
    )
    piece.labels = words_of(row, _columns(item.path))
    return piece


def _check(path: Path) -> None:
    """HubError where a table with rows lacks a column, or has it in another type."""
    table = _table(str(path))
    names = table.schema_arrow.names
    if not set(NEEDED) <= set(names):
        raise HubError(f"{path} has columns {', '.join(names)}; expected {' and '.join(NEEDED)} among them")
    for column, kinds in NEEDED.items():
        kind = str(table.schema_arrow.field(column).type)
        if kind not in kinds and table.metadata.num_rows:  # one without rows may have no type
            raise HubError(f"{path} holds {column} as {kind}; expected {kinds[0]}: convert the column, or {AGAIN}")


def _row(path: str, index: int) -> dict[str, Any]:
    first, group = 0, 0
    while index >= first + _table(path).metadata.row_group(group).num_rows:
        first += _table(path).metadata.row_group(group).num_rows
        group += 1
    row: dict[str, Any] = _group(path, group).slice(index - first, 1).to_pylist()[0]
    return row


def _columns(path: str) -> list[str]:
    """The columns that can be labels: words and numbers, and lists of them."""
    kinds = importlib.import_module("pyarrow.types")
    plain = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating, kinds.is_boolean)
    found = []
    for field in _table(path).schema_arrow:
        kind = field.type.value_type if kinds.is_list(field.type) else field.type
        if field.name not in NEEDED and any(fits(kind) for fits in plain):
            found.append(field.name)
    return found


@lru_cache(maxsize=2)
def _group(path: str, group: int) -> Any:
    return _table(path).read_row_group(group)


@lru_cache(maxsize=8)
def _table(path: str) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise HubError("dataset gigamidi needs pyarrow: pip install swaptunes[parquet]") from error
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise HubError(f"{path} is no table of Parquet ({str(error).splitlines()[0]}); {AGAIN}") from error


def build(hparams: GigaMidiHParams) -> GigaMidi:
    return GigaMidi(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("gigamidi", GigaMidiHParams, build)
