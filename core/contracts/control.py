"""The contract of a control: anything that may be known of a piece and asked for of a new one.

Shapes: c width of the control's vector, n tokens of a piece.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer

Vectors = NDArray[np.float32]


@runtime_checkable
class Control(Protocol):
    """A vector beside the tokens, and the words of a person for one.

    A model is trained on what `of` gives, each control left out at times, and then asked with what `parse` gives.
    Optional: `suits(tokenizer)` raises a ValueError that says why this tokenizer cannot carry the control; it is asked
    before anything is read, with a tokenizer that has learned nothing yet.

    A control whose value is a number, which `of` tells of any music, may have `numbers`, values that span what may be
    asked for, and `number(vectors)`, what vectors (... c) tell (...): `evaluate` then asks for each of the numbers and
    says what came.

    A control that looks at a column of `piece.labels` has hyper-parameters with a field `column` and a method
    `learn(words)`: it is called before the control is built, with the column's words of all pieces of a dataset, fills
    fields that are left empty (so that they stand in hparams.yaml), and raises a ValueError where it cannot.
    """

    dim: int

    def of(self, piece: Piece, ids: Ids, tokenizer: Tokenizer) -> Vectors:
        """Float32 (c) of the whole piece, or (n c): row i holds what is known when token i is drawn.

        The tokenizer, which gave `ids`, can say what they mean and where bars begin. ValueError where nothing is known
        of this piece, which then counts as one without the control.
        """
        ...

    def parse(self, text: str) -> Vectors:
        """The vector (c) that a person asks for; ValueError with the valid range."""
        ...

    def describe(self) -> str:
        """What may be asked for, closing with an example after "e.g. "."""
        ...

    def transposed(self, vector: Vectors, semitones: int) -> Vectors:
        """The vectors (... c) of the same music so many semitones higher."""
        ...


def describe_example(control: Any) -> str:
    """The example that a control's description closes with; empty without one."""
    return str(control.describe()).rpartition("e.g. ")[2].strip() if "e.g. " in control.describe() else ""
