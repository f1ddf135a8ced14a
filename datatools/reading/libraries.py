"""Which libraries read and tokenize: other versions of them may give other notes and other tokens."""

from importlib import metadata

LIBRARIES = ("miditok", "music21", "symusic", "tokenizers")


def versions() -> dict[str, str]:
    """Those that are installed, with their versions."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
