"""What a token tells: a pitch, when a note begins, how long it sounds, or something else."""

from typing import Any

from core.contracts.tokenizer import KINDS, Tokenizer, vocab_sizes

# MidiTok's names are TYPE_VALUE; other tokenizers that name tokens so are understood as well.
TYPES = {
    "pitch": "pitch",
    "pitchdrum": "pitch",
    "pitchintervaltime": "pitch",
    "pitchintervalchord": "pitch",
    "silence": "pitch",  # of a grid of voices: what takes the place of a pitch
    "noteon": "pitch",
    "drumon": "pitch",
    "bar": "onset",
    "position": "onset",
    "timeshift": "onset",
    "rest": "onset",
    "duration": "duration",
    "noteoff": "duration",
    "drumoff": "duration",
}


def token_kinds(tokenizer: Tokenizer) -> list[list[int]]:
    """For each id of each stream the place of its kind in KINDS.

    Ends and headers are "other", byte pairs of unlike parts "several". A tokenizer says it itself by a method
    `kind_of(id) -> str`, of several streams `kind_of(id, stream)`; else the type in the token's name tells.
    """

    def kind(id: int, *stream: int) -> str:
        told: Any = getattr(tokenizer, "kind_of", None)
        name = str(told(id, *stream) if told is not None else by_name(tokenizer.token(id, *stream)))
        return name if name in KINDS else "other"

    several = tokenizer.streams > 1
    return [
        [KINDS.index(kind(id, stream) if several else kind(id)) for id in range(size)]
        for stream, size in enumerate(vocab_sizes(tokenizer))
    ]


def by_name(name: str) -> str:
    """The kind that a token's name tells; the name of a byte pair holds the names of its parts."""
    kinds = {TYPES.get(part.partition("_")[0].lower(), "other") for part in name.split()}
    return kinds.pop() if len(kinds) == 1 else "several" if kinds else "other"
