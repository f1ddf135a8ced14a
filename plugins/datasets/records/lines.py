"""A dataset of text files that hold a piece a line, found by its number; lines are split once a file."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.log import logger
from datatools.abc.book import decode_bytes
from datatools.fetching import search
from datatools.fetching.archives import is_archive
from datatools.fetching.sources import root
from datatools.preparing.survey import short
from plugins.datasets.records.named_sides import one_side, sides_of


@dataclass(frozen=True)
class Unread:
    """What stands in place of a piece that is none, and why."""

    reason: str


Split = Callable[[str], Sequence[str | Unread]]


@dataclass(frozen=True)
class Format:
    """How the lines of a set are found and read. `split(text)` gives the pieces of a file, `read(text, source)` one.

    Without `split` each line that is not blank is a piece, and no file is held whole. `looks(path)` tells whether a
    file of another ending than `extensions` is of the set.
    """

    name: str
    license: str
    url: str
    expected: str
    extensions: frozenset[str]
    split: Split | None
    read: Callable[[str, str], Piece]
    looks: Callable[[Path], bool] | None = None

    def takes(self, path: Path) -> bool:
        """Whether a file is of the set."""
        if path.suffix.lower() in self.extensions:
            return True
        return self.looks is not None and not is_archive(path) and self.looks(path)


class Lines:
    """A piece of a file is an item; files named after a side (train, valid or validation, test) are on it."""

    def __init__(self, format: Format, path: str) -> None:
        self.format, self.path = format, path
        self.license, self.url = format.license, format.url

    @cached_property
    def identity(self) -> str:
        """Another one where the hub makes the split, which must not begin from sides that were published."""
        if not self.path:
            return self.format.name
        given = Path(self.path).expanduser().resolve()
        if given.is_file():
            names = [given.name] if self.format.takes(given) else []
        else:
            names = [short(str(path), given) for path in self._below(given)]
        return f"{self.format.name} {given}" + ", split by the hub" * (one_side(names) is not None)

    def _below(self, folder: Path) -> list[Path]:
        endings = self.format.extensions if self.format.looks is None else None
        return [path for path in search.search(folder, endings).files if self.format.takes(path)]

    def prepare(self, folder: Path) -> None:
        """Finds the files; HubError where there are none."""
        self.folder = folder
        given = Path(self.path).expanduser().resolve()
        self.root = given.parent if self.path and given.is_file() and self.format.takes(given) else None
        self.files = [given] if self.root else []
        if self.root is None:
            self.root = root(self.path, self.format.expected, None, folder)
            self.files = self._below(self.root)
        if not self.files:
            raise HubError(f"dataset.path is {self.root}, which holds no file of it; expected {self.format.expected}")

    def fingerprint(self) -> str:
        assert self.root is not None, "prepare comes first"
        content = search.fingerprint(search.Found(self.root, self.files), self.folder / "checksums.json")
        return hashlib.sha256(f"{self.format.name} 2 {content}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        """HubError naming a file of another kind, or names that lack a side."""
        counts = {}
        for path in self.files:
            pieces, utf8 = _pieces(self.format.split, str(path), path.stat().st_mtime_ns)
            counts[path] = len(pieces)
            if not utf8:
                logger.info("%s is not UTF-8; it is read as Windows-1252 or Latin-1", path)
        filled = [path for path, count in counts.items() if count]
        for path in self.files:
            if filled and path not in filled:
                logger.warning("%s holds no tune", path)
        sides = sides_of(self.format.name, [short(str(path), self.root) for path in filled])
        for path, side in zip(filled, sides, strict=True):
            for index in range(counts[path]):
                yield Item(str(path), index, "", side)

    def read(self, item: Item) -> Piece:
        """One piece; ValueError with a one-line reason when it cannot be read."""
        pieces, _ = _pieces(self.format.split, item.path, Path(item.path).stat().st_mtime_ns)
        piece = pieces[item.index]
        if isinstance(piece, Unread):
            raise ValueError(piece.reason)
        return self.format.read(piece, f"{item.path}#{item.index}")


class Places(Sequence[str | Unread]):
    """The lines of a file that are not blank, each read when it is asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.starts: list[int] = []  # bytes
        at = 0
        with open(path, "rb") as file:
            for line in file:
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    self.starts.append(at)
                at += len(line)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        with open(self.path, "rb") as file:
            file.seek(self.starts[index])
            try:
                return file.readline().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                return Unread(f"it is not UTF-8 ({error.reason} at byte {error.start}); expected JSON in UTF-8")


@lru_cache(maxsize=4)
def _pieces(split: Split | None, path: str, modified: int) -> tuple[Sequence[str | Unread], bool]:
    """The pieces of a file, and whether it is UTF-8."""
    if split is None:
        return Places(path), True
    data = Path(path).read_bytes()
    try:
        text, utf8 = data.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        text, utf8 = decode_bytes(data), False
    try:
        return split(text.replace("\r\n", "\n").replace("\r", "\n")), utf8
    except ValueError as error:
        raise HubError(f"{path}: {error}") from error
