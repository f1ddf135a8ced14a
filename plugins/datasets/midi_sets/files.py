"""A dataset of files below a folder, told by a few facts: which files, of which work, on which side."""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.contracts.dataset import Item, Split
from core.errors import HubError
from core.log import logger
from datatools.fetching import search, sources
from datatools.preparing.survey import short
from datatools.reading.scores import MIDI, count

Group = Callable[[str], str]
Side = Callable[[str], Split | None]


@dataclass(frozen=True)
class Facts:
    """What is known of a set. `group` and `side` take a file's path below the root, with slashes; an empty work stands
    for itself, a side of None is dealt by the hub's own rule. `takes` says which files are meant, and
    `leaves`, in words, what the others are."""

    name: str
    license: str
    url: str
    expected: str
    version: int = 1
    extensions: Collection[str] = MIDI
    takes: Callable[[str], bool] = lambda path: True
    leaves: str = ""
    group: Group = lambda path: ""
    side: Side = lambda path: None
    split_binds: bool = True


class Files:
    """A file is an item; a book of ABC has one for each tune."""

    def __init__(self, facts: Facts, path: str) -> None:
        self.facts, self.path = facts, path
        self.license, self.url, self.split_binds = facts.license, facts.url, facts.split_binds
        self.told: set[str] = set()
        self.identity = f"{facts.name} {Path(path).expanduser().resolve()}" if path else facts.name

    def prepare(self, folder: Path) -> None:
        """Finds the files, unpacking them where an archive is given; HubError where there are none."""
        self.folder = folder
        self.root = sources.root(self.path, self.facts.expected, None, folder)
        found = search.search(self.root, self.facts.extensions)
        self.files = [path for path in found.files if self.facts.takes(short(str(path), self.root))]
        self.unread = found.skipped
        if not self.files:
            raise HubError(f"dataset.path is {self.root}, which holds no file of it; expected {self.facts.expected}")
        left = len(found.files) - len(self.files)
        if left:
            self.tell(search.passed_over(self.facts.name, left, self.facts.leaves))

    def tell(self, line: str) -> None:
        """Says it once, however often the set is prepared."""
        if line not in self.told:
            self.told.add(line)
            logger.info("%s", line)

    def fingerprint(self) -> str:
        content = search.fingerprint(search.Found(self.root, self.files), self.folder / "checksums.json")
        return hashlib.sha256(f"{self.facts.name} {self.facts.version} {content}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        for path in self.files:
            name = short(str(path), self.root)
            try:
                tunes = count(path)
            except (ValueError, OSError):
                tunes = 1  # a worker reads it, fails alike and names it
            for index in range(max(1, tunes)):
                yield Item(str(path), index, self.group(name), self.side(name))

    def group(self, name: str) -> str:
        """The work that a file below the root belongs to; empty: one of its own."""
        return self.facts.group(name)

    def side(self, name: str) -> Split | None:
        """The published side of a file below the root."""
        return self.facts.side(name)

    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of what bears an extension of the set and is no file."""
        return self.unread


def by_md5(path: str) -> Split:
    """The side of a file named by its md5, as sets of Lakh's kind are split: e validates, f tests, the rest trains."""
    sides: dict[str, Split] = {"e": "valid", "f": "test"}
    return sides.get(Path(path).stem[:1].lower(), "train")
