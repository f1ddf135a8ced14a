"""Shares of the twelve pitch classes in the two seconds that begin at a token, as in PerformanceRNN.

Source: Simon and Oore, Performance RNN (Magenta, 2017).
"""

from collections.abc import Callable

import numpy as np

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from hparams.controls import PitchHistogramHParams
from plugins import hookimpl
from plugins.controls.windows import counts


class PitchHistogram:
    """Which pitch classes sound, C first; all 0 in a window without notes."""

    dim = 12

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        found = counts(ids, tokenizer)
        rows = (found / np.where(found.any(axis=1), found.sum(axis=1), 1)[:, None]).astype(np.float32)
        return rows if len(rows) == len(ids) else rows[0]

    def parse(self, text: str) -> Vectors:
        try:
            weights = np.array([float(word) for word in text.split(",")])
        except ValueError:
            weights = np.zeros(0)
        if weights.shape != (12,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise ValueError(f"pitch_histogram is {text!r}; expected {self.describe()}")
        return (weights / weights.sum()).astype(np.float32)

    def describe(self) -> str:
        return "twelve weights of 0 or more from C to B, joined by commas, e.g. 2,0,1,0,2,1,0,2,0,1,0,1"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return np.roll(vector, semitones, axis=-1)


def build(hparams: PitchHistogramHParams) -> PitchHistogram:
    """The control; it has nothing to set."""
    return PitchHistogram()


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `pitch_histogram`."""
    register("pitch_histogram", PitchHistogramHParams, build)
