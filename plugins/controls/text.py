"""A caption as a bag of words: which words of a vocabulary stand in it, without their order.

It is no language model: "piano without drums" is as near to "drums without piano" as can be. A caption that names a key
is not moved with the notes, so `data.augment.transpose` is better left at 0 with such captions.

Source: Salton, Wong and Yang, "A vector space model for automatic indexing" (CACM 1975), with weights of 0 and 1.
"""

from collections.abc import Callable

import numpy as np

from core.contracts.control import Vectors
from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from core.names import did_you_mean
from hparams.controls import TextHParams, words_of
from plugins import hookimpl

SHOWN = 12  # words of a description


class Text:
    """A vector of length 1 with equal weights on the words that are there."""

    def __init__(self, hparams: TextHParams) -> None:
        if not hparams.words:
            raise ValueError("controls.text.words is empty; expected the words that captions may hold")
        self._column, self._places = hparams.column, {word: place for place, word in enumerate(hparams.words)}
        self.dim = len(self._places)

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        known = self._places.keys() & words_of(piece.labels.get(self._column, ""))
        if not known:
            raise ValueError(f"it has no {self._column} of known words")
        return self._vector(known)

    def parse(self, text: str) -> Vectors:
        """The vector of a person's words; ValueError for one that no caption has taught."""
        words = words_of(text)
        for word in words:
            if word not in self._places:
                hint = did_you_mean(word, self._places)
                raise ValueError(f"{word!r} is in no {self._column} that was learned from.{hint}")
        if not words:
            raise ValueError(f"{self._column} is {text!r}; expected {self.describe()}")
        return self._vector(set(words))

    def _vector(self, words: set[str]) -> Vectors:
        row = np.zeros(self.dim, dtype=np.float32)
        row[[self._places[word] for word in words]] = len(words) ** -0.5
        return row

    def describe(self) -> str:
        words = list(self._places)
        return f"some of {self.dim} words ({', '.join(words[:SHOWN])} ...), e.g. {' '.join(words[:2])}"

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        return vector


@hookimpl
def register_controls(register: Callable[..., None]) -> None:
    """Offers `text`."""
    register("text", TextHParams, Text)
