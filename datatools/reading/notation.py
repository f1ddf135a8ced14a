"""MusicXML, compressed MusicXML and Humdrum kern to a score, by readers of our own.

Repeats are played, ties joined, transposing instruments written at sounding pitch; a part's staff, or a spine, is a
track. Grace notes take a twelfth of a quarter each, just before the note they lead to (at the very beginning: together
with it). A note has the loudness that the file gives it, else 80. Ticks are 480 a quarter.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import symusic

from datatools.reading.kern import reader as kern
from datatools.reading.musicxml import reader as musicxml
from datatools.reading.musicxml.archive import unpacked
from datatools.reading.performing import performed


def score(data: bytes, extension: str) -> tuple[str, symusic.Score, list[str]]:
    """(title, score, remarks) of a file's bytes; ValueError with a one-line reason when it cannot be read."""
    if extension == ".mxl" or data[:4] == b"PK\x03\x04":
        data = unpacked(data)
    text = _text(data)
    with _uncollected():
        written = kern.read(text) if extension == ".krn" else musicxml.read(text)
        return written.title, performed(written), list(dict.fromkeys(written.remarks))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles, which goes through all elements and notes again and again and finds none."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
