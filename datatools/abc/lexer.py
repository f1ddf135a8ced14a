"""ABC text of one tune to its header fields and music symbols, with the line each stands on.

Source: the ABC music standard 2.1 (abcnotation.com/wiki/abc:standard:v2.1), sections 2 to 4, and the older habits that
real collections keep (`!` and `\\` at line ends, `+CEG+` chords). What carries no pitch or time (decorations, slurs,
lyrics, chord names, spacing) is left out here; what cannot be told is an error that names the line.
"""

import re
from typing import NamedTuple

LONGEST_TEXT = 4_000_000  # characters of one tune
LONGEST_SOURCE = 250_000  # symbols of one tune; more is no tune, and would stall what follows


class Symbol(NamedTuple):
    """One thing of the music: `kind`, the parts that its pattern caught, and its line (from 1)."""

    kind: str
    parts: tuple[str, ...]
    line: int


class Source(NamedTuple):
    """A tune as written: (letter, value, line) of each header field, and the body's symbols."""

    header: list[tuple[str, str, int]]
    symbols: list[Symbol]


_LENGTH = r"(\d*/*\d*)"
_PATTERNS = {
    "note": (r"(\^\^|__|\^|_|=|)([A-Ga-g])([,']*)" + _LENGTH, 4),
    "field": (r"\[([A-Za-z]):([^\]]*)\]", 2),
    "bar": (r"(:*(?:\[\|\]|\[\||\|\]|\|)(?:\[\|\]|\[\||\|\]|[|:])*|:+\]?)", 1),
    "ending": (r"\[(\d[\d,.-]*)", 1),
    "rest": (r"([zxZX])" + _LENGTH, 2),
    "tuplet": (r"\((\d)(?::(\d*))?(?::(\d*))?", 3),
    "open": (r"\[()", 1),
    "close": (r"\]" + _LENGTH, 1),
    "grace": (r"\{()/?", 1),
    "ungrace": (r"\}()", 1),
    "broken": (r"(>+|<+)", 1),
    "tie": (r"-()", 1),
    "plus": (r"\+()", 1),
    # Spacing, slurs, decorations in all their forms, chord names, score line breaks.
    "skip": (r'[\s().`~$*\\]|![^!|\[\]\n"]{0,40}!|!|"[^"]*"?|y\d*|[H-Wh-w]', 0),
}
_MASTER = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, (pattern, _) in _PATTERNS.items()))
_FIELD_LINE = re.compile(r"([A-Za-z+]):(?![|:])(.*)")
_MAIL_BREAK = re.compile(r"=(?:20)?\s*$")  # what quoted-printable mail leaves at line ends; `=3D` is its `=`
_BARE_ENDING = re.compile(r"\s*(\d[\d,.-]*)")
_PLUS_DECORATION = re.compile(r"\+(?![A-Ga-g^_=,'\d/]+\+)[^+|\[\]\s]{1,40}\+")
_GROUPS = {
    kind: range(_MASTER.groupindex[kind] + 1, _MASTER.groupindex[kind] + 1 + n) for kind, (_, n) in _PATTERNS.items()
}
_MUSIC_FIELDS = frozenset("KMLQVP")


def lex(text: str) -> Source:
    """Splits one tune; ValueError "line N: ..." for a character that ABC gives no meaning."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the tune has more than {LONGEST_TEXT} characters")
    header: list[tuple[str, str, int]] = []
    symbols: list[Symbol] = []
    in_header = True
    has_key = re.search(r"^K:", text, re.MULTILINE) is not None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.lstrip("\ufeff")
        if line.startswith("%"):
            continue
        field = _FIELD_LINE.match(line)
        if field:
            letter, value = field[1], _uncommented(field[2]).strip()
            if in_header:
                header.append((letter, value, number))
                in_header = letter != "K"
            elif letter in _MUSIC_FIELDS:
                symbols.append(Symbol("field", (letter, value), number))
        elif _uncommented(line).strip() and not (in_header and has_key):  # no music stands before the header's end
            in_header = False
            _lex_line(_MAIL_BREAK.sub("", _uncommented(line)).replace("=3D", "="), number, symbols)
            if len(symbols) > LONGEST_SOURCE:
                raise ValueError(f"line {number}: the tune has more than {LONGEST_SOURCE} symbols")
    return Source(header, symbols)


def _uncommented(text: str) -> str:
    """The text before the first `%` that no backslash escapes."""
    return re.split(r"(?<!\\)%", text, maxsplit=1)[0] if "%" in text else text


def _lex_line(line: str, number: int, symbols: list[Symbol]) -> None:
    if "+" in line:
        line = _PLUS_DECORATION.sub(" ", line)
    at = 0
    if symbols and symbols[-1].kind == "bar":
        at = _ending(line, at, number, symbols)
    while at < len(line):
        match = _MASTER.match(line, at)
        if match is None:
            if line[at] == "&":
                raise ValueError(f"line {number}: overlaid voices (&) cannot be told; write them as voices (V:)")
            raise ValueError(f"line {number}: {line[at : at + 12]!r} is not ABC music")
        at = match.end()
        kind = match.lastgroup or "skip"
        if kind == "skip":
            continue
        symbol = Symbol(kind, tuple(match[group] or "" for group in _GROUPS[kind]), number)
        if kind == "bar":
            _add_bar(symbol, symbols)
            at = _ending(line, at, number, symbols)
        else:
            symbols.append(symbol)


def _ending(line: str, at: int, number: int, symbols: list[Symbol]) -> int:
    """Takes the bare number of an ending after a bar line, as in `|1`; returns where the rest begins."""
    ending = _BARE_ENDING.match(line, at)
    if ending is None:
        return at
    symbols.append(Symbol("ending", (ending[1],), number))
    return ending.end()


def _add_bar(symbol: Symbol, symbols: list[Symbol]) -> None:
    """Adds a bar line; a lone colon joins the one beside it (`||` at a line's end, `:` at the next one's start)."""
    before = symbols[-1] if symbols else None
    if before is not None and before.kind == "bar" and ":" in (symbol.parts[0], before.parts[0]):
        symbols[-1] = Symbol("bar", (before.parts[0] + symbol.parts[0],), before.line)
    else:
        symbols.append(symbol)
