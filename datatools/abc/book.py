"""Books of tunes: one ABC file to the texts of its tunes.

A tune begins at its `X:` line. Fields before the first `X:` hold for every tune. A blank line ends a tune, except where
no music has come yet (some files leave one between header and music).
"""

import re
from itertools import pairwise

from datatools.abc.lexer import LONGEST_TEXT

MOST_TUNES = 200_000
_START = re.compile(r"^X:", re.MULTILINE)
_FIELD = re.compile(r"[A-Za-z+]:(?![|:])")
_SHARED = frozenset("MLQRKmUI")  # header fields of a book that a tune takes over


def decode_bytes(data: bytes) -> str:
    """Text of an ABC file: UTF-8, else Latin-1 (which reads anything)."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def holds_tunes(text: str) -> bool:
    """Whether there is an `X:` or a `K:` line, without which there is no tune."""
    return re.search(r"^[ \t]*[XK]:", text, re.MULTILINE) is not None


def count_tunes(text: str) -> int:
    """Tunes in the text: its `X:` lines, or 1 when there is music without any."""
    return len(_START.findall(text)) or int(bool(text.strip()))


def tunes(text: str) -> list[str]:
    """The texts of all tunes; ValueError for a book of more than can be told apart from a mistake."""
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        return [_first_block(text)] if text.strip() else []
    if len(starts) > MOST_TUNES:
        raise ValueError(f"it holds {len(starts)} tunes; expected at most {MOST_TUNES} in a book")
    shared = [line for line in text[: starts[0]].splitlines() if _FIELD.match(line) and line[0] in _SHARED]
    found = []
    for start, end in pairwise([*starts, len(text)]):
        head, _, rest = text[start:end].partition("\n")
        found.append("\n".join([head, *shared, _first_block(rest)]))
    return found


def tune(text: str, index: int) -> str:
    """The text of one tune; IndexError beyond the last."""
    found = tunes(text)
    if not 0 <= index < len(found):
        raise IndexError(f"there is no tune {index}; the file has {len(found)}")
    return found[index]


def title(text: str) -> str:
    """The first T: field of a tune's text, else nothing."""
    match = re.search(r"^T:[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return match[1] if match else ""


def _first_block(text: str) -> str:
    """The lines up to the first blank one after music."""
    lines: list[str] = []
    music = False
    for line in text[: LONGEST_TEXT + 1].split("\n"):  # what is longer is refused by whoever reads it
        if not line.strip():
            if music:
                break
            continue
        music = music or not (_FIELD.match(line) or line.startswith("%"))
        lines.append(line)
    return "\n".join(lines) + "\n"
