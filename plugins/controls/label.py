"""What the dataset says of a piece in a column: one of a few words, or a number between two others.

Shapes: c words, or KNOTS of the numbers' span.
"""

from collections.abc import Callable

import numpy as np

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from hparams.controls import LabelHParams, number_of
from plugins import hookimpl

KNOTS = 9  # a number is told by its nearness to the two knots around it, so that like numbers are alike
SHOWN = 12  # words of a description


class Label:
    """One-hot over the words, or a number's two weights on evenly spaced knots (linear interpolation)."""

    def __init__(self, hparams: LabelHParams) -> None:
        if not hparams.words and not hparams.span:
            raise ValueError("controls.label.words and .span are empty; expected the words, or the span of the numbers")
        self._column, self._words, self._span = hparams.column, hparams.words, hparams.span
        self.dim = len(self._words) or KNOTS

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        if self._column not in piece.labels:
            raise ValueError(f"it has no {self._column}")
        return self._vector(piece.labels[self._column])

    def parse(self, text: str) -> Vectors:
        return self._vector(text)

    def _vector(self, text: str) -> Vectors:
        row = np.zeros(self.dim, dtype=np.float32)
        if self._words:
            if text not in self._words:
                raise ValueError(f"{self._column} is {text!r}; expected {self.describe()}")
            row[self._words.index(text)] = 1
            return row
        number, (low, high) = number_of(text), self._span
        if number is None or not low <= number <= high:
            raise ValueError(f"{self._column} is {text!r}; expected {self.describe()}")
        place = (number - low) / (high - low) * (KNOTS - 1)
        return np.maximum(0, 1 - np.abs(np.arange(KNOTS) - place)).astype(np.float32)

    def describe(self) -> str:
        if self._span:
            low, high = self._span
            return f"{self._column}, a number from {low:g} to {high:g}, e.g. {(low + high) / 2:g}"
        more = f" and {len(self._words) - SHOWN} more" if len(self._words) > SHOWN else ""
        return f"{self._column}, one of {', '.join(self._words[:SHOWN])}{more}, e.g. {self._words[0]}"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return vector


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `label`."""
    register("label", LabelHParams, Label)
