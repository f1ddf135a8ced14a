"""The contract of a tokenizer: music to ids and back."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from core.contracts.grammar import Grammar
from core.contracts.piece import Piece

KINDS = ("pitch", "onset", "duration", "other", "several")  # what a token may tell; several: parts of unlike kinds
Ids: TypeAlias = list[Any]  # a token each: an int, or with several streams a list of so many ints


@runtime_checkable
class Tokenizer(Protocol):
    """Pieces to token ids and back.

    `pad_id`, `bos_id` and `eos_id` are distinct and below `vocab_size`; `encode` never emits them: the hub
    puts bos before a piece and eos behind it.
    What else a tokenizer may offer, and how the hub calls it, stands in `FullTokenizer`.
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


@runtime_checkable
class FullTokenizer(Tokenizer, Protocol):
    """A tokenizer with every optional part. Each is looked up by its name and called as it stands here.

    A part that is there must keep its law; one that cannot serve what is asked raises a ValueError that says why, and
    the hub goes on without it, or says so where it was asked for.
    """

    formats: Sequence[str]  # endings of files, such as "abc", that a generated piece is written in besides MIDI
    vocab_sizes: Sequence[int]  # of each stream, where there are several
    bar_tokens: int  # tokens of a bar, where every one has as many

    learns: bool  # whether `train` has something to learn; without this it has, where it is there

    def train(self, pieces: Iterable[Piece]) -> None:
        """Learns a vocabulary from training pieces; does nothing where the hyper-parameters ask for none."""
        ...

    def grammar(self, bars: int = 0, length: int = 0) -> Grammar:
        """What may follow what. `bars` > 0: in pieces of exactly so many bars, a prompt's included. `length` > 0: of at
        most so many tokens, the prompt included, bos and eos not; it may be ignored, for the hub cuts off there."""
        ...

    def opening(self, ids: Ids) -> Ids:
        """A prompt's ids as a piece goes on from them: without what only an end has, such as a last bar line."""
        ...

    def bar_starts(self, ids: Ids) -> Sequence[int]:
        """The rising positions in any ids at which a bar begins."""
        ...

    def times(self, ids: Ids) -> Sequence[float]:
        """The seconds that have passed when each token is told, in a tokenizer that tells seconds."""
        ...

    def kind_of(self, id: int) -> str:
        """What a token tells, one of KINDS, where its name does not."""
        ...

    def transpose_table(self, semitones: int) -> Sequence[Any]:
        """For each id the id of the same token so many semitones up, -1 where there is none; drums do not move."""
        ...

    def velocity_table(self, steps: int) -> Sequence[Any]:
        """The same for so many steps of loudness."""
        ...

    def tempo_table(self, factor: float) -> Sequence[Any]:
        """The same for a tempo that is `factor` times as fast."""
        ...


def vocab_sizes(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The vocabulary of each stream."""
    return tuple(getattr(tokenizer, "vocab_sizes", ())) if tokenizer.streams > 1 else (tokenizer.vocab_size,)


def token_names(tokenizer: Tokenizer, token: Any) -> list[str]:
    """The name of each id of a token."""
    if tokenizer.streams == 1:
        return [tokenizer.token(token)]
    return [tokenizer.token(id, stream) for stream, id in enumerate(token)]  # type: ignore[call-arg]
