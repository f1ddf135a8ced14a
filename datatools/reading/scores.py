"""Any readable file of music to a Piece."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import symusic

from core.contracts.piece import Piece
from datatools.reading.canonical import canonical

if TYPE_CHECKING:
    from datatools.abc.tune import Tune

T = TypeVar("T")

MIDI = frozenset({".mid", ".midi", ".kar"})
XML = frozenset({".xml", ".musicxml", ".mxl"})
EXTENSIONS = MIDI | XML | frozenset({".krn", ".abc"})
# A larger file is no single work; reading it would only fill the memory.
MOST_BYTES = 64 * 2**20
LONGEST_TITLE = 500  # characters; it stands in tables


def read(path: str | Path, index: int = 0) -> Piece:
    """The work in a file, or tune `index` of a book; ValueError with a one-line reason when it cannot be read.

    The score is made at once, so that a file that reads is a file that plays. `sha256` is of the file's bytes, or of
    the tune's text in a book of several.
    """
    try:
        return _read(Path(path), index)
    except ValueError as error:
        why = str(error)
        if why.isprintable():
            raise
        # A reason may quote the file, which is not to write on the terminal what a terminal obeys.
        raise ValueError("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in why)) from error


def _read(path: Path, index: int) -> Piece:
    extension = path.suffix.lower()
    if extension not in EXTENSIONS:
        raise ValueError(f'its extension is "{path.suffix}"; expected one of {" ".join(sorted(EXTENSIONS))}')
    if extension == ".abc":
        return _tune(path, index)
    if index:
        raise ValueError(f"tune {index} was asked for; only books of ABC hold more than one")
    data = _bytes(path)
    title, score, remarks = _convert(data, extension)
    title = title[:LONGEST_TITLE] or path.stem
    sha256 = hashlib.sha256(data).hexdigest()
    return piece_from_score(score, source=str(path), title=title, sha256=sha256, remarks=remarks)


def count(path: str | Path) -> int:
    """Tunes in the file: 1, or as many as a book of ABC holds."""
    is_book = os.path.splitext(path)[1].lower() == ".abc"
    return len(_book(str(path), os.stat(path).st_mtime_ns)) if is_book else 1


def piece_from_score(
    score: symusic.Score, *, source: str = "", title: str = "", sha256: str = "", remarks: Iterable[str] = ()
) -> Piece:
    """A Piece around a score in ticks; ValueError when the score holds no usable music."""
    said = list(remarks)
    ready = canonical(score, said)

    def make_abc() -> str:
        from datatools.abc import writer as abc_writer

        return abc_writer.write(ready, title=title, source=source)

    return Piece(source, title, sha256, lambda: ready, make_abc, said)


def piece_from_abc(text: str, *, source: str = "", title: str | None = None, sha256: str = "") -> Piece:
    """A Piece around one tune of ABC; reading errors come when `score` or `abc` is asked for.

    Both the score and the text have the repeats written out. `title` is the first T: field unless given.
    """
    if title is None:
        fields = (line.strip() for line in text.split("\n"))
        title = next((line[2:].strip()[:LONGEST_TITLE] for line in fields if line.startswith("T:")), "")

    @cache
    def tune() -> "Tune":
        from datatools.abc.repeats import read_tune

        return _named(lambda: read_tune(text, remarks=piece.remarks), source)

    def make_abc() -> str:
        from datatools.abc.text import text_of

        return text_of(tune())

    def make_score() -> symusic.Score:
        from datatools.abc.reader import score_of

        assert piece.abc  # made beside the score: its chord symbols may be asked for
        return _named(lambda: canonical(score_of(tune()), piece.remarks), source)

    piece = Piece(source, title, sha256, make_score, make_abc)
    return piece


def _named(make: Callable[[], T], source: str) -> T:
    try:
        return make()
    except ValueError as error:
        if not source or source in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error


def _bytes(path: Path) -> bytes:
    """The file's content, once it is neither empty nor what a careless download leaves behind."""
    if not path.is_file():
        raise ValueError("there is no such file" if not path.exists() else "it is no file")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 2**20:.0f} MB; expected at most {MOST_BYTES // 2**20}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from error
    start = data[:512].lstrip().lower()
    if not start:
        raise ValueError("it is empty")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError('it is a git-LFS pointer, not the file itself; fetch it with "git lfs pull"')
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        raise ValueError("it is a web page, not music; fetch the file itself")
    if start.startswith((b"404", b"not found")):
        raise ValueError("it holds the text of a failed download; fetch it again")
    return data


def _convert(data: bytes, extension: str) -> tuple[str, symusic.Score, list[str]]:
    if extension in MIDI:
        from datatools.reading.midi import reader

        return "", *reader.score(data)
    from datatools.reading import notation

    return notation.score(data, extension)


def _tune(path: Path, index: int) -> Piece:
    if not path.is_file():
        raise ValueError("there is no such file" if not path.exists() else "it is no file")
    book = _book(str(path), path.stat().st_mtime_ns)
    if not 0 <= index < len(book):
        raise ValueError(f"tune {index} was asked for; the book holds {len(book)}")
    text, lines = book[index]
    source = str(path) if len(book) == 1 else f"{path}#{index}"
    piece = piece_from_abc(
        text, source=source, sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    )
    if len(book) == 1:
        piece.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        assert piece.score is not None
    except ValueError as error:
        raise ValueError(_placed(str(error).removeprefix(f"{source}: "), lines)) from error
    return piece


def _placed(reason: str, lines: Sequence[int]) -> str:
    """A reason about "line n" of a tune's text as one about that line of the file, and of the tune in it."""
    match = re.match(r"line (\d+)", reason)
    if match is None or not 1 <= int(match[1]) <= len(lines):
        return reason
    line = lines[int(match[1]) - 1]
    inside = line - lines[0] + 1
    where = f"line {line}" if line == inside else f"line {line} (line {inside} of the tune)"
    return where + reason[match.end() :]


@lru_cache(maxsize=8)
def _book(path: str, modified: int) -> tuple[tuple[str, list[int]], ...]:
    """The tunes of a book and their lines, split once while the file stays as it is, not n times for n tunes."""
    data = _bytes(Path(path))
    from datatools.abc import book

    text = book.decode_bytes(data)
    if not book.holds_tunes(text):
        raise ValueError("it holds no tune: there is neither an X: nor a K: line")
    return tuple(book.located(text))
