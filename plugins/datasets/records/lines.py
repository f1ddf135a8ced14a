"""A dataset of text files that hold a piece a line, found by its number; lines are split once a file."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.contracts.dataset import Item, Split
from core.contracts.piece import Piece
from core.errors import HubError
from datatools.fetching import search
from datatools.fetching.sources import root
from datatools.preparing.survey import short


@dataclass(frozen=True)
class Format:
    """How the lines of a set are found and read. `split(text)` gives the pieces of a file, `read(text, source)` one."""

    name: str
    license: str
    url: str
    expected: str
    extensions: frozenset[str]
    split: Callable[[str], Sequence[str]]
    read: Callable[[str, str], Piece]


class Lines:
    """A piece of a file is an item; files named after a side (train, valid or validation, test) are on it."""

    def __init__(self, format: Format, path: str) -> None:
        self.format, self.path = format, path
        self.license, self.url = format.license, format.url
        self.identity = f"{format.name} {Path(path).expanduser().resolve()}" if path else format.name

    def prepare(self, folder: Path) -> None:
        """Finds the files; HubError where there are none."""
        self.folder = folder
        given = Path(self.path).expanduser().resolve()
        self.root = given.parent if self.path and given.is_file() and given.suffix in self.format.extensions else None
        self.files = [given] if self.root else []
        if self.root is None:
            self.root = root(self.path, self.format.expected, None, folder)
            self.files = search.search(self.root, self.format.extensions).files
        if not self.files:
            raise HubError(f"dataset.path is {self.root}, which holds no file of it; expected {self.format.expected}")

    def fingerprint(self) -> str:
        assert self.root is not None, "prepare comes first"
        content = search.fingerprint(search.Found(self.root, self.files), self.folder / "checksums.json")
        return hashlib.sha256(f"{self.format.name} 1 {content}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        for path in self.files:
            side = side_of(short(str(path), self.root))
            for index in range(len(_pieces(self.format.split, str(path), path.stat().st_mtime_ns))):
                yield Item(str(path), index, "", side)

    def read(self, item: Item) -> Piece:
        """One piece; ValueError with a one-line reason when it cannot be read."""
        pieces = _pieces(self.format.split, item.path, Path(item.path).stat().st_mtime_ns)
        return self.format.read(pieces[item.index], f"{item.path}#{item.index}")


def side_of(path: str) -> Split | None:
    """The side that a file's name tells."""
    words = set(re.split(r"[^a-z]+", path.lower()))
    sides: dict[Split, set[str]] = {"train": {"train"}, "valid": {"valid", "validation"}, "test": {"test"}}
    told: list[Split] = [side for side, names in sides.items() if names & words]
    return told[0] if len(told) == 1 else None


@lru_cache(maxsize=4)
def _pieces(split: Callable[[str], Sequence[str]], path: str, modified: int) -> Sequence[str]:
    try:
        return split(Path(path).read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise HubError(f"{path}: {error}") from error
