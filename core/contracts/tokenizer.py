"""The contract of a tokenizer: music to ids and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from core.contracts.piece import Piece


@runtime_checkable
class Tokenizer(Protocol):
    """Pieces to token ids and back.

    `pad_id`, `bos_id` and `eos_id` are distinct and below `vocab_size`; `encode` never emits them, the hub adds them.
    Optional methods, looked up by name: `train(pieces)` learns a vocabulary (BPE and the like) and does nothing when
    the hyper-parameters ask for none; `grammar()` masks what may not follow; `transpose_table(semitones)`,
    `velocity_table(steps)` and `tempo_table(factor)` give an exact map id -> id, -1 where there is no image, as a list
    of `vocab_size` ints; `bar_starts(ids)` gives the positions at which a bar begins; `features(piece)` gives per-token
    controls; `kind_of(id)` says what a token tells ("pitch", "onset", "duration" or "other"), where its name does not.
    """

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    streams: int

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the piece, deterministic; ValueError naming the piece when it cannot be told."""
        ...

    def decode(self, ids: Sequence[int]) -> Any:
        """A Piece (anything with `.score`) from any ids whatever: truncated, ungrammatical, empty."""
        ...

    def token(self, id: int) -> str:
        """The name of one id."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever encode or decode could change: vocabulary, options, library version."""
        ...

    def save(self, folder: Path) -> None:
        """Writes all that `build(hparams, folder)` needs; no pickle."""
        ...
