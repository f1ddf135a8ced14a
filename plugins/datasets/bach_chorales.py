"""J. S. Bach's chorales, from the corpus of music21: its MusicXML files of chorale settings, one piece each.

The rule: every .mxl, .xml and .musicxml file of corpus/bach but bwv846, the one work there that is no chorale setting
(a prelude for keyboard). The few .krn files repeat chorales that are there as MusicXML.
"""

import zipfile
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from core.contracts.dataset import Item
from core.log import logger
from datatools.fetching import corpus, search
from hparams.datasets import BachChoralesHParams
from plugins import hookimpl

OTHER_WORKS = frozenset({"bwv846"})
VOICES = 4


class BachChorales:
    """A file is an item."""

    license = corpus.LICENSE
    url = corpus.URL

    def __init__(self, accompanied: bool) -> None:
        self.accompanied = accompanied
        self.identity = "bach_chorales" if accompanied else "bach_chorales, four parts"

    @cached_property
    def root(self) -> Path:
        return corpus.folder("bach")

    @cached_property
    def chorales(self) -> list[Path]:
        found = (path for path in (self.root / "bach").iterdir() if path.suffix in {".mxl", ".xml", ".musicxml"})
        return sorted(path for path in found if path.stem not in OTHER_WORKS)

    @cached_property
    def files(self) -> list[Path]:
        kept = self.chorales if self.accompanied else [path for path in self.chorales if parts(path) == VOICES]
        left = len(self.chorales) - len(kept)
        if left:
            why = "not in exactly four parts (dataset.accompanied=true reads them)"
            logger.info("%s", search.passed_over("bach_chorales", left, why))
        return kept

    def prepare(self, folder: Path) -> None:
        """The package's install has brought everything."""

    def fingerprint(self) -> str:
        return corpus.fingerprint(f"bach_chorales 1: MusicXML, accompanied {self.accompanied}", self.root, self.files)

    def items(self) -> Iterable[Item]:
        return [Item(str(path)) for path in self.files]


def parts(path: Path) -> int:
    """Parts of a MusicXML file, counted in its part list without reading the music."""
    data = path.read_bytes()
    if path.suffix == ".mxl":
        with zipfile.ZipFile(path) as archive:
            scores = [name for name in archive.namelist() if name.endswith("xml") and not name.startswith("META-INF/")]
            data = archive.read(scores[0])
    return data.count(b"<score-part ")


def build(hparams: BachChoralesHParams) -> BachChorales:
    return BachChorales(hparams.accompanied)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("bach_chorales", BachChoralesHParams, build)
