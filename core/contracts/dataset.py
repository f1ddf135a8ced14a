"""The contract of a dataset: which files, which works, which licence."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, order=True)
class Item:
    """A reference to one piece; workers do the reading.

    `index` counts the tunes in a book (0 otherwise), `group` holds the variants of one work together, `split` is set
    where one is published.
    """

    path: str
    index: int = 0
    group: str = ""
    split: Split | None = None


@runtime_checkable
class Dataset(Protocol):
    """Where music comes from. An optional method `read(item) -> Piece` replaces the hub's readers of files."""

    license: str
    url: str

    def prepare(self, folder: Path) -> None:
        """Fetches and verifies what `items` needs, into `folder`; idempotent."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever the items or their content change."""
        ...

    def items(self) -> Iterable[Item]:
        """References to all pieces, in an order that does not depend on the file system."""
        ...
