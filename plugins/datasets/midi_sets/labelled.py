"""A dataset of MIDI files with a file beside them that says more of each: the labels that controls ask for."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.words import agree, counted
from datatools.fetching import search, sources
from datatools.preparing.survey import short
from plugins.datasets.midi_sets import table
from plugins.datasets.midi_sets.files import Facts, Files
from plugins.datasets.midi_sets.table import Words

# Of the file of labels and the names of the set's files: what is said of each, under its name.
Said = Callable[[Path, list[str]], Iterator[tuple[str, Words]]]


class Labelled(Files):
    """Files whose labels stand in a file called `beside`, next to them or above; one without labels is no item."""

    def __init__(self, facts: Facts, path: str, beside: str, said: Said) -> None:
        super().__init__(facts, path)
        self.beside, self.said = beside, said

    def prepare(self, folder: Path) -> None:
        """Finds the files and what is said of them; HubError where either is missing."""
        super().prepare(folder)
        about = self._beside()
        content = search.fingerprint(search.Found(about.parent, [about]), folder / "labels-checksum.json")
        self.content = hashlib.sha256(f"{super().fingerprint()} {content}".encode()).hexdigest()
        self.table = folder / f"labels-{self.content[:16]}.sqlite"
        names = {short(str(path), self.root): path for path in self.files}
        if not self.table.exists():
            table.write(self.table, self.said(about, list(names)))
        self.known = table.load(self.table)
        bare = [name for name in names if name not in self.known]
        if not self.known:
            raise HubError(f"{about} says nothing of the {counted(len(names), 'file')} below {self.root}")
        if bare:
            told = f"{len(bare):,} of {counted(len(names), 'file')} {agree(len(bare), 'is', 'are')} left out"
            them = agree(len(bare), "it", "them")
            self.tell(f"{told}, since {self.beside} says nothing of {them}, first {bare[0]}")
        self.files = [path for name, path in names.items() if name in self.known]

    def _beside(self) -> Path:
        """The file of labels: in the folder given, beside the archive given, or below what was unpacked."""
        given = sources.given(self.path, self.facts.expected)
        for folder in (given if given.is_dir() else given.parent, given.parent):
            if (folder / self.beside).is_file():
                return folder / self.beside
        below = sorted(self.root.rglob(self.beside), key=lambda file: (len(file.parts), file))
        if not below:
            raise HubError(f"dataset.path is {given}, which has no {self.beside}; expected {self.facts.expected}")
        return below[0]

    def fingerprint(self) -> str:
        return self.content

    def labels(self) -> dict[str, list[str]]:
        """Column -> the words in it."""
        return table.columns_of(self.known.values())

    @cached_property
    def read(self) -> Callable[[Item], Piece]:
        """The reader that workers are sent; known after `prepare`."""
        return partial(table.read, str(self.table), str(self.root))
