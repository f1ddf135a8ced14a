"""The contract of a tokenizer: music to ids and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from core.contracts.piece import Piece

Ids: TypeAlias = list[Any]  # a token each: an int, or with several streams a list of so many ints


@runtime_checkable
class Tokenizer(Protocol):
    """Pieces to token ids and back.

    `pad_id`, `bos_id` and `eos_id` are distinct and below `vocab_size`; `encode` never emits them, the hub adds them.
    Optional methods, looked up by name: `train(pieces)` learns a vocabulary (BPE and the like) and does nothing when
    the hyper-parameters ask for none; `grammar()` masks what may not follow; `transpose_table(semitones)`,
    `velocity_table(steps)` and `tempo_table(factor)` give an exact map id -> id, -1 where there is no image, as a list
    of `vocab_size` ints; `bar_starts(ids)` gives the positions at which a bar begins; `features(piece)` gives per-token
    controls; `kind_of(id)` says what a token tells ("pitch", "onset", "duration" or "other"), where its name does not;
    `formats` has endings of files, such as "abc", that a generated piece is written in too.
    `times(ids)` gives the seconds that have passed when each token is told, in a tokenizer that tells seconds.
    `time_error`, in quarters at 120 a minute, declares how far the times between notes may be out where time is no grid
    of beats.

    With `streams = k > 1` a token is a list of k ids, one in each stream, whose vocabularies `vocab_sizes` counts.
    `vocab_size` is the first's, in which pad, bos and eos lie; behind these the hub puts 0 in the other streams, and
    neither counts nor draws it. A token's ids are told in the order of the streams, so that each may hang on those
    before it; what has nothing to say in a token says so by an id of its own. `token` and `kind_of` take the stream as
    a second argument, and tables are k lists, the first of `vocab_sizes[0]` ints and so on.
    """

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    streams: int

    def encode(self, piece: Piece) -> Ids:
        """Ids of the piece, deterministic; ValueError naming the piece when it cannot be told."""
        ...

    def decode(self, ids: Sequence[Any]) -> Any:
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


def vocab_sizes(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The vocabulary of each stream."""
    return tuple(getattr(tokenizer, "vocab_sizes", ())) if tokenizer.streams > 1 else (tokenizer.vocab_size,)


def token_names(tokenizer: Tokenizer, token: Any) -> list[str]:
    """The name of each id of a token."""
    if tokenizer.streams == 1:
        return [tokenizer.token(token)]
    return [tokenizer.token(id, stream) for stream, id in enumerate(token)]  # type: ignore[call-arg]
