"""Notes in the two seconds that begin at a token, one of twelve classes, as in PerformanceRNN.

Source: Simon and Oore, Performance RNN (Magenta, 2017); classes of three notes each, from 1, 4, ..., 34 notes on.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from hparams.controls import DensitySecondsHParams
from plugins import hookimpl
from plugins.controls.windows import SECONDS, counts

BINS = np.arange(12) * 3 + 1  # notes from which on a window falls into each; none at all falls into the first
MOST = 50.0  # notes a second


class DensitySeconds:
    """How dense the music is, token by token where the tokenizer knows its times, else over the whole piece."""

    dim = len(BINS)
    numbers = tuple(((BINS + 1) / SECONDS).tolist())  # the middle of each class, in notes a second

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        rows = _one_hot(counts(ids, tokenizer).sum(axis=1))
        return rows if len(rows) == len(ids) else rows[0]

    def parse(self, text: str) -> Vectors:
        try:
            notes = float(text)
        except ValueError:
            notes = -1.0
        if not 0 <= notes <= MOST:
            raise ValueError(f"density_seconds is {text!r}; expected {self.describe()}")
        return _one_hot(np.array([notes * SECONDS]))[0]

    def number(self, vectors: Vectors) -> Vectors:
        """The middle of the class; of the last, which has no end, of its first three numbers of notes."""
        return vectors @ np.array(self.numbers, dtype=np.float32)

    def describe(self) -> str:
        return f"notes a second, a number from 0 to {MOST:g}, e.g. 5"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return vector


def _one_hot(notes: NDArray[Any]) -> Vectors:
    places = np.maximum(np.searchsorted(BINS, notes + 1e-6, side="right") - 1, 0)
    return np.eye(len(BINS), dtype=np.float32)[places]


def build(hparams: DensitySecondsHParams) -> DensitySeconds:
    """The control; it has nothing to set."""
    return DensitySeconds()


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `density_seconds`."""
    register("density_seconds", DensitySecondsHParams, build)
