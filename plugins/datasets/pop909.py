"""POP909: piano arrangements of 909 pop songs, and the takes that led to them (Wang et al., arXiv 2008.07142).

No split is published: songs are dealt to the sides by the hub's own rule, and a song's takes stay with it.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from core.contracts.dataset import Item
from core.errors import HubError
from core.log import logger
from datatools.fetching import search, sources
from datatools.preparing.survey import short
from datatools.reading.scores import MIDI
from hparams.datasets import Pop909HParams
from plugins import hookimpl

URL = "https://github.com/music-x-lab/POP909-Dataset"
EXPECTED = f"the folder POP909 with its 909 folders of songs, or an archive of it ({URL})"
SONG = re.compile(r"(?:.*/)?(\d{3})/\1\.mid")
TAKE = re.compile(r"(?:.*/)?(\d{3})/versions/[^/]+\.mid")


class Pop909:
    """A song is an item; with `versions`, each of its takes is another one of the song's group."""

    license = "MIT (the arrangements; the songs are commercial pop music)"
    url = URL

    def __init__(self, path: str, versions: bool) -> None:
        self.path = path
        self.versions = versions
        self.identity = f"pop909{' with versions' if versions else ''} {Path(path).expanduser().resolve()}"

    def prepare(self, folder: Path) -> None:
        """Finds the songs, unpacking them where an archive is given."""
        self.folder = folder
        self.root = sources.root(self.path, EXPECTED, None, folder)
        found = search.search(self.root, MIDI).files
        self.songs = {path: song for path in found if (song := self._song(path))}
        if not self.songs:
            raise HubError(f"dataset.path is {self.root}, where no song lies at NNN/NNN.mid; expected {EXPECTED}")
        left = len(found) - len(self.songs)
        if left:
            takes = "nor in NNN/versions" if self.versions else "dataset.versions=true reads those in NNN/versions"
            logger.info(search.passed_over("pop909", left, f"not at NNN/NNN.mid; {takes}"))

    def _song(self, path: Path) -> str:
        """The number of the song that a file holds, empty when it is none that was asked for."""
        name = short(str(path), self.root)
        found = SONG.fullmatch(name) or (TAKE.fullmatch(name) if self.versions else None)
        return found[1] if found else ""

    def fingerprint(self) -> str:
        content = search.fingerprint(search.Found(self.root, list(self.songs)), self.folder / "checksums.json")
        return hashlib.sha256(f"pop909 1 {content}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        return [Item(str(path), 0, song) for path, song in self.songs.items()]


def build(hparams: Pop909HParams) -> Pop909:
    return Pop909(hparams.path, hparams.versions)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("pop909", Pop909HParams, build)
