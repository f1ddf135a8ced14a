"""The contract of a dataset: which files, which works, which licence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from core.contracts.piece import Piece

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
    """Where music comes from. What else a data set may offer stands in `FullDataset`."""

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


@runtime_checkable
class FullDataset(Dataset, Protocol):
    """A data set with every optional part; each is looked up by its name."""

    identity: str  # names its caches; what is read with another path or choice has another (class and url otherwise)
    root: Path | None  # the folder that names of pieces are told below, where machines share it; known after `prepare`
    unknown: bool  # true: a person's own music, so that settings left at `auto` follow what is in it
    split_binds: bool  # false: of versions of one music the first one's `split` holds for all (each its own otherwise)

    def read(self, item: Item) -> Piece:
        """The piece, in place of the hub's readers of files; called in worker processes."""
        ...

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Column -> the words in it, of all pieces that have one: what `read` puts into `Piece.labels`."""
        ...

    def skipped(self) -> Iterable[tuple[str, str]]:
        """Name and reason of what lies there and is no item; asked after `items`."""
        ...
