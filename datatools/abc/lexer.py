"""ABC text of one tune to its header fields and music symbols, with the line each stands on.

Source: the ABC music standard 2.1 (abcnotation.com/wiki/abc:standard:v2.1), sections 2 to 4, and the older habits that
real collections keep (`!` and `\\` at line ends, `+CEG+` chords). What carries no pitch or time (decorations, slurs,
annotations, spacing) is left out here; a chord symbol goes with the note or rest that follows, lyrics with what they
follow; what cannot be told is an error that names the line.
"""

import re
from typing import NamedTuple

from datatools.abc.symbols import chord_symbol

LONGEST_TEXT = 4_000_000  # characters of one tune
# How far an accidental reaches in its bar: its letter in all octaves, in its own octave, no further than its note.
PITCH, OCTAVE, NOT = REACHES = ("pitch", "octave", "not")
STEP = "step"  # as OCTAVE, and no tie leads it over a bar line: what lists of words say, which no person wrote
LONGEST_SOURCE = 250_000  # symbols and lines of lyrics of one tune; more is no tune, and would stall what follows
FIRST, VERSE, MORE = "first", "verse", "more"


class Symbol(NamedTuple):
    """One thing of the music: `kind`, the parts that its pattern caught, its line (from 1), and the chord over it.

    `words` are the lines of lyrics behind it, each with how it goes on from the one before: `FIRST`, `VERSE`, `MORE`.
    """

    kind: str
    parts: tuple[str, ...]
    line: int
    chord: str = ""
    words: list[tuple[str, str]] | None = None


class Source(NamedTuple):
    """A tune as written: (letter, value, line) of each header field, the body's symbols, and accidentals' reach."""

    header: list[tuple[str, str, int]]
    symbols: list[Symbol]
    propagate: str


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
    "overlay": (r"&()", 1),
    # Spacing, slurs, decorations in all their forms, words and chord symbols, score line breaks.
    "skip": (r'[\s().`~$*\\]|![^!|\[\]\n"]{0,40}!|!|"[^"]*"?|y\d*|[H-Wh-w]', 0),
}
_MASTER = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, (pattern, _) in _PATTERNS.items()))
_FIELD_LINE = re.compile(r"(w|[A-Za-z+](?=:(?![|:]))):(.*)")
_MAIL_BREAK = re.compile(r"=(?:20)?\s*$")  # what quoted-printable mail leaves at line ends; `=3D` is its `=`
_BARE_ENDING = re.compile(r"\s*(\d[\d,.-]*)")
_PLUS_DECORATION = re.compile(r"\+(?![A-Ga-g^_=,'\d/]+\+)[^+|\[\]\s]{1,40}\+")
_GROUPS = {
    kind: range(_MASTER.groupindex[kind] + 1, _MASTER.groupindex[kind] + 1 + n) for kind, (_, n) in _PATTERNS.items()
}
_MUSIC_FIELDS = frozenset("KMLQVP")
_UNDER_CHORDS = frozenset(("note", "rest", "open", "plus"))
_BEGIN = re.compile(r"%%+[ \t]*begin(text|ps|svg|ml)\b", re.IGNORECASE)
_END = re.compile(r"%%+[ \t]*end(text|ps|svg|ml)\b", re.IGNORECASE)
_PROPAGATE = re.compile(r"(?:%%[ \t]*|I:[ \t]*)propagate-accidentals[ \t]+(\w+)")


class Blocks:
    """Tells, line after line, what stands between `%%begintext` and `%%endtext` and the like: no music."""

    def __init__(self) -> None:
        self.open = ""

    def hold(self, line: str) -> bool:
        """Whether the line belongs to a block, its two ends included."""
        if self.open:
            end = _END.match(line)
            if end and end[1].lower() == self.open:
                self.open = ""
            return True
        begin = _BEGIN.match(line)
        self.open = begin[1].lower() if begin else ""
        return begin is not None


def lex(text: str, propagate: str = PITCH) -> Source:
    """Splits one tune; ValueError "line N: ..." for a character that ABC gives no meaning, or without K: (2.1, 3.1.14).

    `propagate` holds where the tune has no `%%propagate-accidentals` (ABC 2.1, 11.3).
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the tune has more than {LONGEST_TEXT} characters")
    header: list[tuple[str, str, int]] = []
    symbols: list[Symbol] = []
    in_header, early = True, 0
    blocks, begun = Blocks(), 0
    last, lyrics = "", 0  # the field of the line before, "" for music
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = line.lstrip("\ufeff")
        begun = begun if blocks.open else number
        if blocks.hold(line):
            continue
        reach = _PROPAGATE.match(line)
        if reach and reach[1] in REACHES:
            propagate = reach[1]
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
            elif symbols and (letter == "w" or (letter == "+" and last == "w")):
                _add_words(value, MORE if letter == "+" else VERSE if last == "w" else FIRST, symbols)
                lyrics += 1
            last = last if letter == "+" else letter
        elif not _uncommented(line).strip():
            pass
        elif in_header:  # no music stands before the header's end
            early = early or number
        else:
            last = ""
            _lex_line(_MAIL_BREAK.sub("", _uncommented(line)).replace("=3D", "="), number, symbols)
        if len(symbols) + lyrics > LONGEST_SOURCE:
            raise ValueError(f"line {number}: the tune has more than {LONGEST_SOURCE} symbols")
    if blocks.open:
        raise ValueError(f"line {begun}: %%begin{blocks.open} without its %%end{blocks.open}")
    if in_header and early:
        raise ValueError(f"line {early}: music before the tune has a key; its header ends with K:, e.g. K:C or K:none")
    return Source(header, symbols, propagate)


def _uncommented(text: str) -> str:
    """The text before the first `%` that no backslash escapes."""
    return re.split(r"(?<!\\)%", text, maxsplit=1)[0] if "%" in text else text


def _lex_line(line: str, number: int, symbols: list[Symbol]) -> None:
    if "(&" in line or "&)" in line:
        raise ValueError(
            f"line {number}: an overlay of several bars, (& ... &), cannot be told; write it as a voice (V:)"
        )
    if "+" in line:
        line = _PLUS_DECORATION.sub(" ", line)
    at, chord, graces = 0, "", False
    if symbols and symbols[-1].kind == "bar":
        at = _ending(line, at, number, symbols)
    while at < len(line):
        match = _MASTER.match(line, at)
        if match is None:
            raise ValueError(f"line {number}: {line[at : at + 12]!r} is not ABC music")
        at = match.end()
        kind = match.lastgroup or "skip"
        if kind == "skip":
            if match[0][0] == '"':
                chord = chord_symbol(match[0].strip('"')) or chord
            continue
        graces = kind == "grace" or (graces and kind != "ungrace")
        under = chord if kind in _UNDER_CHORDS and not graces else ""
        symbol = Symbol(kind, tuple(match[group] or "" for group in _GROUPS[kind]), number, under)
        chord = "" if under else chord
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


def _add_words(line: str, how: str, symbols: list[Symbol]) -> None:
    words = symbols[-1].words
    if words is None:
        words = []
        symbols[-1] = symbols[-1]._replace(words=words)
    words.append((how, line))


def _add_bar(symbol: Symbol, symbols: list[Symbol]) -> None:
    """Adds a bar line; a lone colon joins the one beside it (`||` at a line's end, `:` at the next one's start)."""
    before = symbols[-1] if symbols else None
    if before is not None and before.kind == "bar" and ":" in (symbol.parts[0], before.parts[0]):
        symbols[-1] = before._replace(parts=(before.parts[0] + symbol.parts[0],))
    else:
        symbols.append(symbol)
