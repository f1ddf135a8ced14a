"""A person's own folder of music, searched recursively for every format that the hub reads.

A file labels.csv in it says more of the files: a column `file`, their paths below the folder, and any others.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.files import checksum
from core.log import logger
from core.words import agree, counted
from datatools.fetching import search
from hparams.datasets import FolderHParams
from plugins import hookimpl
from plugins.datasets import labels


class Folder:
    """A file is an item; a book of ABC has one for each tune, all with the labels of their file."""

    license = "unknown: the folder's own"
    url = ""
    unknown = True

    def __init__(self, path: str) -> None:
        if not path:
            raise HubError("dataset.path is empty; expected the folder of your music: dataset.path=PATH")
        self.root = Path(path).expanduser().resolve()
        self.identity = f"folder {self.root}"

    @cached_property
    def found(self) -> search.Found:
        from datatools.reading.scores import EXTENSIONS

        if not self.root.exists():
            raise HubError(f"dataset.path is {self.root}, which does not exist; expected a folder of music")
        if not self.root.is_dir():
            raise HubError(f"dataset.path is {self.root}, a file; expected the folder that holds it")
        found = search.search(self.root, EXTENSIONS)
        if not found.files:
            looked = " ".join(sorted(EXTENSIONS))
            skipped = "; ".join(f"{name} is {why}" for name, why in found.skipped[:3])
            raise HubError(
                f"dataset.path is {self.root}, and no file in or below it ends in one of {looked}"
                + f" ({skipped})" * bool(skipped)
            )
        if found.hidden:
            hidden = counted(found.hidden, "hidden file")
            logger.info("%s of music in %s %s not read", hidden, self.root, agree(found.hidden, "is", "are"))
        return found

    def prepare(self, folder: Path) -> None:
        """Nothing is to be fetched; the folder is looked through, so that a wrong path is said at once."""
        assert self.found.files

    def fingerprint(self) -> str:
        from datatools.storage import cache_folder

        name = hashlib.sha256(str(self.root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        content = search.fingerprint(self.found, cache_folder() / "fingerprints" / f"{name}.json")
        return f"{content} {checksum(self.root / labels.NAME)}" if labels.usable(self.root) else content

    def items(self) -> Iterable[Item]:
        """What is wrong with labels.csv is told here: a control that asks for labels has met it before."""
        from datatools.reading.scores import count

        try:
            self.labels()
        except HubError as error:
            logger.warning("%s; no control can use it as it is", error)
        for path in self.found.files:
            try:
                tunes = count(path)
            except (ValueError, OSError):
                tunes = 1  # a worker reads it, fails alike and names it
            for index in range(max(1, tunes)):
                yield Item(str(path), index)

    @cached_property
    def read(self) -> Callable[[Item], Piece]:
        """The reader that workers are sent."""
        return partial(labels.read, str(self.root))

    @cached_property
    def _labels(self) -> dict[str, list[str]]:
        return labels.columns(labels.table(self.root), self.found)

    def labels(self) -> dict[str, list[str]]:
        """Column of labels.csv -> its words; HubError where that is no table."""
        return self._labels

    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of what bears an extension of music and is no file."""
        return self.found.skipped


def build(hparams: FolderHParams) -> Folder:
    return Folder(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("folder", FolderHParams, build)
