"""Books of tunes: one ABC file to the texts of its tunes.

A tune begins at its `X:` line. Fields before the first `X:` hold for every tune. A blank line ends a tune, except where
no music has come yet (some files leave one between header and music).
"""

import re
from itertools import pairwise

from datatools.abc.lexer import LONGEST_TEXT, Blocks

MOST_TUNES = 200_000
_START = re.compile(r"^X:", re.MULTILINE)
_FIELD = re.compile(r"[A-Za-z+]:(?![|:])")
# Header fields and directives of a book that a tune takes over.
_SHARED = re.compile(r"[MLQRKmUI]:(?![|:])|%%[ \t]*propagate-accidentals\b")


def decode_bytes(data: bytes) -> str:
    """Text of an ABC file: UTF-8, else Windows-1252, else Latin-1 (which reads anything)."""
    for encoding in ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    return text.replace("\r\n", "\n").replace("\r", "\n")


def holds_tunes(text: str) -> bool:
    """Whether there is an `X:` or a `K:` line, without which there is no tune."""
    return re.search(r"^[ \t]*[XK]:", text, re.MULTILINE) is not None


def count_tunes(text: str) -> int:
    """Tunes in the text: its `X:` lines, or 1 when there is music without any."""
    return len(_START.findall(text)) or int(bool(text.strip()))


def tunes(text: str) -> list[str]:
    """The texts of all tunes; ValueError for a book of more than can be told apart from a mistake."""
    return [tune for tune, _ in located(text)]


def located(text: str) -> list[tuple[str, list[int]]]:
    """Each tune's text and, for each of its lines, the line of the book that it is."""
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        return [_joined(_first_block(text, 1))] if text.strip() else []
    if len(starts) > MOST_TUNES:
        raise ValueError(f"it holds {len(starts)} tunes; expected at most {MOST_TUNES} in a book")
    head = enumerate(text[: starts[0]].split("\n"), 1)
    shared = [(number, line) for number, line in head if _SHARED.match(line)]
    found = []
    line = 1 + text.count("\n", 0, starts[0])
    for start, end in pairwise([*starts, len(text)]):
        first, _, rest = text[start:end].partition("\n")
        found.append(_joined([(line, first), *shared, *_first_block(rest, line + 1)]))
        line += text.count("\n", start, end)
    return found


def _joined(lines: list[tuple[int, str]]) -> tuple[str, list[int]]:
    return "\n".join(line for _, line in lines) + "\n", [number for number, _ in lines]


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


def _first_block(text: str, first: int) -> list[tuple[int, str]]:
    """The lines up to the first blank one after music, with their numbers from `first` on."""
    lines: list[tuple[int, str]] = []
    music = False
    blocks = Blocks()
    # what is longer is refused by whoever reads it
    for number, line in enumerate(text[: LONGEST_TEXT + 1].split("\n"), first):
        if blocks.hold(line):
            lines.append((number, line))
        elif line.strip():
            music = music or not (_FIELD.match(line) or line.startswith("%"))
            lines.append((number, line))
        elif music:
            break
    return lines
