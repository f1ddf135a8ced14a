"""The key of a whole piece, found by correlation with profiles (Krumhansl & Kessler 1982)."""

import re
from collections.abc import Callable

import numpy as np

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from hparams.controls import KeyHParams
from plugins import hookimpl
from plugins.metrics.parts.harmony import key_of
from plugins.metrics.parts.notes import notes_of

MODES = ("major", "minor")
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


class Key:
    """Twelve major keys, then twelve minor ones."""

    dim = 24

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        notes = notes_of(piece.score)
        if not len(notes):
            raise ValueError("it has no notes with a pitch")
        tonic, mode = key_of(notes)
        return _one_hot(tonic, mode)

    def parse(self, text: str) -> Vectors:
        told = re.fullmatch(r"([A-Ga-g])([#b♯♭]?)(?:[\s_-]*(major|minor|maj|min)|(m)|)", text.strip())
        if told is None:
            raise ValueError(f"key is {text!r}; expected {self.describe()}")
        tonic, sign, *modes = told.groups()
        mode = next(filter(None, modes), "")
        if not mode and tonic.islower():  # who writes so may mean either
            both = " or ".join(f'"{tonic.upper()}{sign} {each}"' for each in MODES)
            raise ValueError(f"key is {text!r}; did you mean {both}?")
        shift = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[sign]
        return _one_hot((STEPS[tonic.upper()] + shift) % 12, "minor" if mode in ("minor", "min", "m") else "major")

    def describe(self) -> str:
        return "a tonic from A to G with # or b, major unless minor (min, m) is said, e.g. F# minor"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return np.concatenate([np.roll(vector[..., part], semitones, axis=-1) for part in (_MAJOR, _MINOR)], axis=-1)


_MAJOR, _MINOR = slice(0, 12), slice(12, 24)


def _one_hot(tonic: int, mode: str) -> Vectors:
    row = np.zeros(24, dtype=np.float32)
    row[12 * MODES.index(mode) + tonic] = 1
    return row


def build(hparams: KeyHParams) -> Key:
    """The control; it has nothing to set."""
    return Key()


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `key`."""
    register("key", KeyHParams, build)
