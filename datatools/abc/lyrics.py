r"""Lyrics of ABC (standard 2.1, section 5): `w:` lines as syllables, one a note, and syllables as `w:` lines.

A syllable stands as ABC spells it (`of~the` shows a space, `x\-ray` a hyphen), with a hyphen behind it where its word
goes on; `_` holds the one before, and "" is a note without.
"""

import html
import re
import unicodedata
from collections.abc import Sequence

HELD, BLANK, BAR = "_", "*", "|"
_TOKEN = re.compile(r"\s+|[-_*|]|(?:\\.|[^\s\-_*|\\])+|\\")
# Letters with marks as text strings spell them (section 8.2): `\'e`, `\cc`, `\ss`, `\u00e9`, `&eacute;`.
_SPELLED = re.compile(
    r"""\\(?:u([0-9a-fA-F]{4})|(ss|[AO]E|[ao]e|AA|aa|DH|dh|TH|th|/[Oo])|([`'^~"cuvH])([A-Za-z]))|&\w+;"""
)
_LIGATURES = {"ss": "ß", "AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ", "AA": "Å", "aa": "å", "/O": "Ø", "/o": "ø"}
_LIGATURES |= {"DH": "Ð", "dh": "ð", "TH": "Þ", "th": "þ"}
_MARKS = dict(zip("`'^~\"cuvH", "\u0300\u0301\u0302\u0303\u0308\u0327\u0306\u030c\u030b", strict=True))


def is_text(syllable: str) -> bool:
    """Whether something is sung anew."""
    return syllable not in ("", HELD)


def goes_on(syllable: str) -> bool:
    """Whether its word goes on with the next syllable."""
    return syllable.endswith("-") and not syllable.endswith("\\-")


def syllables(line: str) -> list[str]:
    """The syllables of a `w:` line, among them "" and "_", and "|" where it advances to the next bar.

    A hyphen behind a space or another hyphen holds the syllable for a note more, as `_` does: it is told as `_`.
    """
    said: list[str] = []
    text = -1  # where the last text stands, which a hyphen leads on
    before = " "
    for token in _TOKEN.findall(line):
        if token == "-":
            if text >= 0 and not goes_on(said[text]):
                said[text] += "-"
            if before == "-" or before.isspace():
                said.append(HELD)
        elif token in (HELD, BLANK, BAR):
            said.append("" if token == BLANK else token)
        elif not token.isspace():
            # What a backslash at the end of a line would escape is not there: a space, or it is one itself.
            token = r"\\" if token == "\\" else re.sub(r"(?:\\ )+$", "", token)
            written = unicodedata.normalize("NFC", _SPELLED.sub(_letter, token))
            said.append("".join(c for c in written if c.isprintable()))
            text = len(said) - 1 if said[-1] else text
        before = token
    return said


def _letter(match: re.Match[str]) -> str:
    """The letter that an escape spells, the escape itself where that is none."""
    code, ligature, mark, base = match.groups()
    if mark:
        return base + _MARKS[mark]
    letter = chr(int(code, 16)) if code else _LIGATURES[ligature] if ligature else html.unescape(match[0])
    return letter if letter.isalpha() else match[0]


def aligned(said: Sequence[str], bars: Sequence[int]) -> tuple[list[str], int]:
    """The syllable of each note, and how many found none; `bars` has the number of the bar that each note is in."""
    found = [""] * len(bars)
    at, bar, left = 0, bars[0] if bars else 0, 0
    for syllable in said:
        if syllable == BAR:
            bar += 1
            while at < len(bars) and bars[at] < bar:
                at += 1
        elif at < len(bars):
            found[at], bar = syllable, bars[at]
            at += 1
        else:
            left += is_text(syllable)
    return found, left


def line_of(said: Sequence[str]) -> str:
    """The `w:` line of the syllables of notes; those behind the last that says something are left out."""
    end = max((at for at, syllable in enumerate(said, 1) if syllable), default=0)
    text = "".join(syllable if syllable == HELD else f" {syllable or BLANK}" for syllable in said[:end])
    return f"w: {text.strip() or BLANK}"


def shown(syllable: str) -> str:
    """A syllable as people read it; the hyphen where its word goes on stays."""
    return re.sub(r"\\(.)", r"\1", syllable.replace("~", " "))


def in_abc(text: str) -> str:
    """A syllable as ABC spells it, of what people read; what ABC gives another meaning is left out."""
    bare = re.sub(r"[\\_*|~]", "", " ".join(text.split()))
    body, hyphen = (bare[:-1], "-") if bare.endswith("-") and bare != "-" else (bare, "")
    return re.sub(r"[-%]", r"\\\g<0>", body).replace(" ", "~") + hyphen
