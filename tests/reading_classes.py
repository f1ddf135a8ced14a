"""Why abc2midi plays a tune otherwise than we do: classes, each with the paragraph of the standard that decides.

A class is an amendment that writes out what the paragraph says, or leaves out what it leaves open; where both play the
amended text alike, and we as we played the tune itself, that is the reason. A tune is first rid of what abc2midi adds
to the notes: trills that are played out, hornpipes that are swung, chord symbols that are accompanied.

Source: the ABC music standard 2.1.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Class:
    """A reason to differ; `is_open` where the standard leaves it open: the amendment may then change what we play."""

    name: str
    amend: Callable[[str], str]
    is_open: bool = False


_MUSIC = re.compile(r"^(?![A-Za-z]:)[^%\n]*", re.MULTILINE)
_DECORATED = r"(?=[.~uvHLMOPRSTJ(]*[\^_=]*[A-Ga-gxz\[])"
_SIGN = re.compile(r'"[^"]*"|^[A-Za-z]:.*$|%.*$|::|\|?:\||\|:|\|\||\|\]', re.MULTILINE)


def in_music(pattern: str, instead: str = "") -> Callable[[str], str]:
    """An amendment of the lines that hold music."""
    compiled = re.compile(pattern)
    return lambda text: _MUSIC.sub(lambda line: compiled.sub(instead, line[0]), text)


def plain(text: str) -> str:
    """The text without what makes abc2midi add notes or move them; chord symbols, which it accompanies, go too."""
    text = in_music(r'"[^"]*"')(re.sub(r"^R:.*\n", "", text, flags=re.MULTILINE))
    return in_music(r"[~THMP](?=[\^_=]?[A-Ga-g])")(text)


def opened(text: str) -> str:
    """Each repeat without its `|:` given one where the standard lets it begin: the last double bar or repeat."""
    head = re.search(r"^K:.*\n", text, re.MULTILINE)
    if head is None:
        return text
    start, out = head.end(), []
    section, last = start, 0
    begun = False
    for sign in _SIGN.finditer(text, start):
        mark = sign[0]
        if mark not in ("::", ":|", "|:|", "|:", "||", "|]"):
            continue
        closes, opens = mark in ("::", ":|", "|:|"), mark in ("::", "|:")
        if closes and not begun and section > start:
            out += [text[last:section], " |:"]
            last = section
        if closes and re.match(r"\s*\[?\d", text[sign.end() :]):
            begun = True  # its other endings are still to come
            continue
        begun, section = opens, sign.end()
    return "".join([*out, text[last:]])


ABC = (
    Class("how long grace notes last is left open (ABC 4.12)", in_music(r"\{[^}]*\}"), is_open=True),
    Class("a decoration behind `>`, `<`, `(3` or `-` (ABC 4.4, 4.11, 4.13)", in_music(r"[.~uvHLMOPRSTJ]" + _DECORATED)),
    Class("a repeat without `|:` begins at the last double bar (ABC 4.8)", opened),
)
