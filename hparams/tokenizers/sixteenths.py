"""Hyper-parameters of the tokenizers on a grid of sixteenths."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class MelodyHParams:
    """A single line on a grid of sixteenths, 130 symbols (MusicVAE, arXiv 1803.05428)."""

    name: Literal["melody"] = "melody"
    # Name of the track that has the line, in any case; empty: all pitched tracks together are one line.
    track: str = ""
    # What to take of notes that sound at once; refuse: a piece that has any is left out and named.
    chords: Literal["refuse", "highest", "lowest"] = "refuse"


@dataclass(kw_only=True)
class TrioHParams:
    """Melody, bass and drums on a grid of sixteenths, a token of each in turn (MusicVAE, arXiv 1803.05428)."""

    name: Literal["trio"] = "trio"
