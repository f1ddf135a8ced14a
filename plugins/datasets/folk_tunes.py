"""Dance tunes from the corpus of music21: Ryan's Mammoth Collection, O'Neill's Music of Ireland (1850), Aird's Airs."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from core.contracts.dataset import Item
from datatools.fetching import corpus
from hparams.datasets import FolkTunesHParams
from plugins import hookimpl

BOOKS = ("airdsAirs", "oneills1850", "ryansMammoth")
RULE = "folk_tunes 1: every tune of every .abc file of " + ", ".join(BOOKS)


class CorpusTunes:
    """The tunes of some folders of the corpus, of which `rule` tells in words; most files are books of many."""

    license = corpus.LICENSE
    url = corpus.URL

    def __init__(self, identity: str, rule: str, books: Sequence[str]) -> None:
        self.identity, self.rule, self.books = identity, rule, books

    @cached_property
    def root(self) -> Path:
        return corpus.folder(*self.books)

    @cached_property
    def files(self) -> list[Path]:
        return sorted(path for book in self.books for path in (self.root / book).glob("*.abc"))

    def prepare(self, folder: Path) -> None:
        """The package's install has brought everything."""

    def fingerprint(self) -> str:
        return corpus.fingerprint(self.rule, self.root, self.files)

    def items(self) -> Iterable[Item]:
        from datatools.reading.scores import count

        for path in self.files:
            for index in range(count(path)):
                yield Item(str(path), index)


def build(hparams: FolkTunesHParams) -> CorpusTunes:
    return CorpusTunes("folk_tunes", RULE, BOOKS)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("folk_tunes", FolkTunesHParams, build)
