"""Notes a bar: how full each bar is, as the tokens tell it.

Shapes: n tokens.
"""

from collections.abc import Callable

import numpy as np

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from hparams.controls import DensityHParams
from plugins import hookimpl

BINS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # notes from which on a bar falls into each
MOST = 256


class Density:
    """One of twelve classes, a new one at each bar; what stands before the first bar shares its class."""

    dim = len(BINS)
    numbers = BINS

    def suits(self, tokenizer: Tokenizer) -> None:
        if getattr(tokenizer, "bar_starts", None) is None:
            raise ValueError("density is told bar by bar, and this tokenizer does not know its bars")

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        self.suits(tokenizer)
        starts = list(tokenizer.bar_starts(ids))  # type: ignore[attr-defined]
        if not starts:
            raise ValueError("it has no bar")
        rows = np.zeros((len(ids), self.dim), dtype=np.float32)
        for bar, (begin, end) in enumerate(zip(starts, [*starts[1:], len(ids)], strict=True)):
            notes = sum(len(track.notes) for track in tokenizer.decode(ids[begin:end]).score.tracks)
            rows[begin if bar else 0 : end] = _one_hot(notes)
        return rows

    def parse(self, text: str) -> Vectors:
        try:
            notes = int(text)
        except ValueError:
            notes = -1
        if not 0 <= notes <= MOST:
            raise ValueError(f"density is {text!r}; expected {self.describe()}")
        return _one_hot(notes)

    def number(self, vectors: Vectors) -> Vectors:
        """The least of the class."""
        return vectors @ np.array(BINS, dtype=np.float32)

    def describe(self) -> str:
        return f"notes a bar, a whole number from 0 to {MOST}, e.g. 8"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return vector


def _one_hot(notes: int) -> Vectors:
    row = np.zeros(len(BINS), dtype=np.float32)
    row[np.searchsorted(BINS, notes, side="right") - 1] = 1
    return row


def build(hparams: DensityHParams) -> Density:
    """The control; it has nothing to set."""
    return Density()


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `density`."""
    register("density", DensityHParams, build)
