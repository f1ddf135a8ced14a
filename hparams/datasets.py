"""Hyper-parameters of the built-in datasets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class BachChoralesHParams:
    """All chorales of J. S. Bach in the corpus of the package music21, from MusicXML."""

    name: Literal["bach_chorales"] = "bach_chorales"
    # Whether to take settings with instruments or a fifth voice too; false: those written for exactly four parts.
    accompanied: bool = True


@dataclass(kw_only=True)
class FolkTunesHParams:
    """Dance tunes in the corpus of the package music21: Ryan's Mammoth, O'Neill's 1850 and Aird's Airs, from ABC."""

    name: Literal["folk_tunes"] = "folk_tunes"


@dataclass(kw_only=True)
class FolderHParams:
    """A person's own folder of music, searched recursively."""

    name: Literal["folder"] = "folder"
    # The folder; required.
    path: str = ""
