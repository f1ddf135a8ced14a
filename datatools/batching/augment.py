"""Random changes to training pieces, as maps of token ids that the tokenizer vouches for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.tokenizer import Tokenizer, vocab_sizes
from core.errors import HubError
from core.log import logger
from core.seeds import generator
from hparams.base import AugmentHParams

MOST_KEPT = 0.5  # of the draws, beyond which a warning says so
_TEMPO_GRADES = 10  # of a change of tempo, in either direction: few enough to keep their tables


class Augmentation:
    """Changes a piece by draws from (seed, epoch, piece), the same for all crops of the piece.

    A draw that has no image for one of the piece's tokens (a note beyond the keyboard, say) is dropped and the piece
    keeps what it had. HubError when the tokenizer cannot do what is asked for.
    """

    def __init__(self, hparams: AugmentHParams, tokenizer: Tokenizer, seed: int) -> None:
        self._seed = seed
        self._tokenizer = tokenizer
        self._tables: dict[tuple[str, float], list[NDArray[np.int64]]] = {}
        self._changes: list[tuple[str, int, float]] = []  # table method, largest draw, what a draw of 1 stands for
        self._keys: list[str] = []
        for key, method, largest, unit in (
            ("transpose", "transpose_table", hparams.transpose, 1.0),
            ("velocity", "velocity_table", hparams.velocity, 1.0),
            ("tempo", "tempo_table", _TEMPO_GRADES if hparams.tempo else 0, hparams.tempo / _TEMPO_GRADES),
        ):
            if not largest:
                continue
            if not callable(getattr(tokenizer, method, None)):
                raise HubError(
                    f"data.augment.{key} is {getattr(hparams, key)}, but the tokenizer {type(tokenizer).__name__} "
                    f"has no {method}; set data.augment.{key}=0 or choose another tokenizer"
                )
            self._changes.append((method, largest, unit))
            self._keys.append(f"data.augment.{key}")

    def warn(self, pieces: Sequence[NDArray[Any]]) -> None:
        """Logs a warning for each change most of whose draws leave pieces like these as they are."""
        kinds = [np.unique(piece, axis=0) for piece in pieces]
        for key, (method, largest, unit) in zip(self._keys, self._changes, strict=True):
            draws = [drawn for drawn in range(-largest, largest + 1) if drawn]
            kept = [(_mapped(self._table(method, drawn, unit), ids) < 0).any() for drawn in draws for ids in kinds]
            if np.mean(kept) > MOST_KEPT:
                logger.warning(
                    "%s changes little: %.0f %% of its draws leave a piece as it is, since the tokenizer has no image"
                    " of some token (byte pairs, tokenizer.bpe, have few)",
                    key,
                    100 * np.mean(kept),
                )

    def apply(self, ids: NDArray[Any], epoch: int, piece: int) -> tuple[NDArray[Any], int]:
        """The ids of a piece, (n) or (n k) of k streams, as they are in this epoch, and the semitones they moved."""
        semitones = 0
        if not self._changes:
            return ids, semitones
        rng = generator(self._seed, "augment", epoch, piece)
        for method, largest, unit in self._changes:
            drawn = int(rng.integers(-largest, largest + 1))
            if drawn:
                changed = _mapped(self._table(method, drawn, unit), ids)
                if not (changed < 0).any():
                    ids = changed
                    semitones = drawn if method == "transpose_table" else semitones
        return ids, semitones

    def _table(self, method: str, drawn: int, unit: float) -> list[NDArray[np.int64]]:
        """The map id -> id of each stream under one draw, kept once made."""
        key = (method, drawn)
        if key not in self._tables:
            argument = 1 + drawn * unit if method == "tempo_table" else drawn
            made = getattr(self._tokenizer, method)(argument)
            tables = [np.asarray(table, dtype=np.int64) for table in (made if self._tokenizer.streams > 1 else [made])]
            sizes = vocab_sizes(self._tokenizer)
            if [table.shape for table in tables] != [(size,) for size in sizes]:
                raise ValueError(
                    f"{type(self._tokenizer).__name__}.{method}({argument}) has shape "
                    f"{', '.join(str(table.shape) for table in tables)}; expected one id for each of "
                    f"{', '.join(map(str, sizes))}"
                )
            self._tables[key] = tables
        return self._tables[key]


def _mapped(tables: Sequence[NDArray[np.int64]], ids: NDArray[Any]) -> NDArray[np.int64]:
    """Each stream of ids, (n) or (n k), under its own map; -1 where an id has no image."""
    if ids.ndim == 1:
        return tables[0][ids]
    return np.stack([table[column] for table, column in zip(tables, ids.T, strict=True)], axis=1)
