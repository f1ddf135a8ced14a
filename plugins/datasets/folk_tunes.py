"""Dance tunes from the corpus of music21: Ryan's Mammoth Collection, O'Neill's Music of Ireland (1850), Aird's Airs."""

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from core.contracts.dataset import Item
from datatools.fetching import corpus
from hparams.datasets import FolkTunesHParams
from plugins import hookimpl

BOOKS = ("airdsAirs", "oneills1850", "ryansMammoth")
RULE = "folk_tunes 1: every tune of every .abc file of " + ", ".join(BOOKS)


class FolkTunes:
    """A tune is an item; most files of O'Neill's and Aird's are books of many."""

    license = corpus.LICENSE
    url = corpus.URL
    identity = "folk_tunes"

    @cached_property
    def root(self) -> Path:
        return corpus.folder(*BOOKS)

    @cached_property
    def files(self) -> list[Path]:
        return sorted(path for book in BOOKS for path in (self.root / book).glob("*.abc"))

    def prepare(self, folder: Path) -> None:
        """The package's install has brought everything."""

    def fingerprint(self) -> str:
        return corpus.fingerprint(RULE, self.root, self.files)

    def items(self) -> Iterable[Item]:
        from datatools.reading.scores import count

        for path in self.files:
            for index in range(count(path)):
                yield Item(str(path), index)


def build(hparams: FolkTunesHParams) -> FolkTunes:
    return FolkTunes()


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("folk_tunes", FolkTunesHParams, build)
