"""Word pieces learnt through MidiTok without a stray line of the library `tokenizers`."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """For the block: MidiTok gives word pieces an option of byte pairs, which they pass over and print a line about."""
    from tokenizers import models

    whole = models.WordPiece
    models.WordPiece = lambda end_of_word_suffix="", **given: whole(**given)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        models.WordPiece = whole  # type: ignore[misc]
