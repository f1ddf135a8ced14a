"""What a token tells: a pitch, when a note begins, how long it sounds, or something else."""

from core.contracts.tokenizer import Tokenizer

KINDS = ("pitch", "onset", "duration", "other", "several")
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


def token_kinds(tokenizer: Tokenizer) -> list[int]:
    """For each id the place of its kind in KINDS; ends and headers are "other", byte pairs of unlike parts "several".

    A tokenizer says it itself by a method `kind_of(id) -> str`; else the type in the token's name tells.
    """
    kind_of = getattr(tokenizer, "kind_of", None) or (lambda id: by_name(tokenizer.token(id)))
    found = [str(kind_of(id)) for id in range(tokenizer.vocab_size)]
    return [KINDS.index(name) if name in KINDS else KINDS.index("other") for name in found]


def by_name(name: str) -> str:
    """The kind that a token's name tells; the name of a byte pair holds the names of its parts."""
    kinds = {TYPES.get(part.partition("_")[0].lower(), "other") for part in name.split()}
    return kinds.pop() if len(kinds) == 1 else "several" if kinds else "other"
