"""What is known beside the tokens of a batch: the vectors of its pieces, each control left out at times.

Shapes: p positions of a piece, one more than it has tokens; c width of all controls together, m controls.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.contracts.control import Control, Vectors
from core.contracts.dataset import Split
from core.seeds import generator
from datatools.preparing.controls import ControlStore


class Beside:
    """The controls of a run with their stored vectors. In training each is left out of a share of the pieces, anew in
    each epoch, by draws from (seed, epoch, piece)."""

    def __init__(self, controls: Sequence[Control], stores: Sequence[ControlStore], dropout: float, seed: int) -> None:
        self._pairs = list(zip(controls, stores, strict=True))
        self._dropout, self._seed = dropout, seed
        self.width, self.count = sum(control.dim for control in controls), len(controls)

    def of(
        self, split: Split, piece: int, positions: int, semitones: int = 0, epoch: int | None = None
    ) -> tuple[Vectors, NDArray[np.bool_]]:
        """Values (p c) at each position of a piece moved by `semitones`, and which controls are given (m).

        The end of a piece is drawn under what holds for its last token. Without an epoch nothing is left out.
        """
        parts, given = [], np.ones(self.count, dtype=bool)
        if epoch is not None and self._dropout:
            given = generator(self._seed, "controls", epoch, piece).random(self.count) >= self._dropout
        for number, (control, store) in enumerate(self._pairs):
            rows = store.rows(split, piece)
            given[number] &= len(rows) > 0
            if not len(rows):
                rows = np.zeros((1, control.dim), dtype=np.float32)
            elif semitones:
                rows = control.transposed(rows, semitones)
            if len(rows) > 1:
                rows = np.concatenate([rows, rows[-1:]])
            parts.append(np.broadcast_to(rows, (positions, control.dim)))
        return np.concatenate(parts, axis=1), given
