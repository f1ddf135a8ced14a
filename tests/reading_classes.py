"""Why abc2midi plays a tune otherwise than we do: classes, each with the paragraph of the standard that decides.

A class is an amendment that writes out what the paragraph says, or leaves out what it leaves open; where both play the
amended text alike, and we as we played the tune itself, that is the reason. A tune is first rid of what abc2midi adds
to the notes: trills that are played out, hornpipes that are swung, chord symbols that are accompanied.

Source: the ABC music standard 2.1.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Class:
    """A reason to differ; `is_open` where the standard leaves it open: the amendment may then change what we play."""

    name: str
    amend: Callable[[str], str]
    is_open: bool = False


_MUSIC = re.compile(r"^(?![A-Za-z]:)[^%\n]*", re.MULTILINE)
_DECORATED = r"(?=[.~uvHLMOPRSTJ(]*[\^_=]*[A-Ga-gxz\[])"
_SIGN = re.compile(r"^[A-Za-z]:.*$|%.*$|\[\|\]|::|\|?:\||\|:|\[\||\|\||\|\]|\||(?=\[\d)", re.MULTILINE)
_CLOSES = ("::", ":|", "|:|")
_NOTE = re.compile(r"[\^_=]*[A-Ga-g][,']*\d*/*\d*")


def in_music(pattern: str, instead: str | Callable[[re.Match[str]], str] = "") -> Callable[[str], str]:
    """An amendment of the lines that hold music."""
    compiled = re.compile(pattern)
    return lambda text: _MUSIC.sub(lambda line: compiled.sub(instead, line[0]), text)


def shaped(found: re.Match[str]) -> str:
    """Nothing for an invisible bar line before another; `|` for the `]` of `:]`."""
    return "|" if found[0] == "]" else ""


def unmailed(text: str) -> str:
    """The text before it was sent by mail as quoted-printable."""
    return re.sub(r"=(?:20)?[ \t]*$", "", text, flags=re.MULTILINE).replace("=3D", "=")


def plain(text: str) -> str:
    """The text without what makes abc2midi add notes or move them; chord symbols, which it accompanies, go too."""
    text = in_music(r'"[^"]*"')(re.sub(r"^R:.*\n", "", text, flags=re.MULTILINE))
    return in_music(r"[~THMP](?=[\^_=]?[A-Ga-g])")(text)


def opened(text: str) -> str:
    """Each repeat without its `|:` given one where the standard lets it begin: the last double bar or repeat."""
    out, last = [], 0
    section = start = _body(text)
    begun = False
    for sign in _SIGN.finditer(text, start):
        if sign[0] not in (*_CLOSES, "|:", "||", "|]", "[|"):
            continue
        if sign[0] in _CLOSES and not begun and section > start:
            out += [text[last:section], " |:"]
            last = section
        if sign[0] in _CLOSES and _ending(text, sign.end()):
            begun = True  # its other endings are still to come
            continue
        begun, section = sign[0] in ("::", "|:"), sign.end()
    return "".join([*out, text[last:]])


def _body(text: str) -> int:
    """Where the music begins."""
    head = re.search(r"^K:.*\n", text, re.MULTILINE)
    return head.end() if head else 0


def _ending(text: str, at: int) -> int:
    """The number of the ending that begins here, or 0."""
    found = re.compile(r"\s*\[?(\d)").match(text, at)
    return int(found[1]) if found else 0


def closed(text: str) -> str:
    """Without the dots at the end of a last ending, which has been played by then."""
    out, last, ending = [], 0, 0
    for sign in _SIGN.finditer(text, _body(text)):
        if re.match("[A-Za-z]:|%", sign[0]):
            continue
        number = _ending(text, sign.end())
        if sign[0] in _CLOSES and ending > 1 and not number:
            out += [text[last : sign.start()], " |:" if sign[0] == "::" else "||"]
            last = sign.end()
        if number or sign[0] not in ("|", ""):
            ending = number
    return "".join([*out, text[last:]])


def unopened(text: str) -> str:
    """Without each `|:` that no `:|` follows before the next."""
    signs = [sign for sign in _SIGN.finditer(text, _body(text)) if sign[0] in (*_CLOSES, "|:")]
    drop = [
        sign
        for sign, after in pairwise([*signs, None])
        if sign is not None and sign[0] == "|:" and (after is None or after[0] == "|:")
    ]
    for sign in reversed(drop):
        text = text[: sign.start()] + "||" + text[sign.end() :]
    return text


def timed(text: str) -> str:
    """Tuplets of 5, 7 and 9 with the time that the standard gives them under the tune's meters, where it is one."""
    meters = re.findall(r"(?:^|\[)M: *(\d+)/", text, re.MULTILINE)
    compound = {int(meter) % 3 == 0 and int(meter) > 3 for meter in meters}
    instead = rf"(\1:{3 if compound == {True} else 2}:\1"
    return in_music(r"\(([579])(?!:)", instead)(text) if len(compound) < 2 else text


def equal(text: str) -> str:
    """Without broken rhythm between notes, chords or rests of unequal lengths."""

    def lengths(item: str) -> list[str]:
        return sorted(set(re.findall(r"[A-Ga-gzx][,']*(\d*/*\d*)", item))) + re.findall(r"\](.+)", item)

    def pair(found: re.Match[str]) -> str:
        return found[0] if lengths(found[1]) == lengths(found[3]) else found[1] + found[2]

    item = r"(\[[^]|:]*\]\d*/*\d*|[A-Ga-gzx][,']*\d*/*\d*)"
    return in_music(item + r"([)\s]*)[<>]+(?=[^A-Ga-gzx|[]*" + item + ")", pair)(text)


def once(text: str) -> str:
    """Each pitch of a chord once."""

    def chord(found: re.Match[str]) -> str:
        return "[" + "".join(dict.fromkeys(_NOTE.findall(found[0]))) + "]"

    return in_music(r"\[(?:[\^_=]*[A-Ga-g][,']*\d*/*\d*){2,}\]", chord)(text)


ABC = (
    Class("how long grace notes last is left open (ABC 4.12)", in_music(r"\{[^}]*\}"), is_open=True),
    Class("a decoration behind `>`, `<`, `(3` or `-` (ABC 4.4, 4.11, 4.13)", in_music(r"[.~uvHLMOPRSTJ]" + _DECORATED)),
    Class(
        "a bar line may have any shape, an invisible one adds nothing (ABC 4.8)",
        in_music(r"\[\|\](?=\s*[:|])|(?<=:)\](?=\s|$)", shaped),
    ),
    Class("a repeat without `|:` begins at the last double bar (ABC 4.8)", opened),
    Class("a `|:` that nothing closes repeats nothing (ABC 4.8)", unopened),
    Class("a `:|` behind the last ending repeats nothing more (ABC 4.9)", closed),
    Class("a double bar before an ending ends no section (ABC 4.9)", in_music(r"\|\|(?=\s*\[?\d)", "|")),
    Class("a tuplet of 5, 7 or 9 lasts as 2, but in compound time, which 3/4 is not (ABC 4.13)", timed),
    Class("broken rhythm of notes of unequal lengths is undefined (ABC 4.4)", equal, is_open=True),
    Class("two heads of one pitch in a chord are one sound (ABC 4.17)", once),
    Class("a line that ends in a backslash goes on in the next (ABC 6.1.1)", lambda text: text.replace("\\\n", "")),
    Class("a lone `!` once broke a line (ABC 12.1.1)", in_music(r"(?<=[|\]\s:])!")),
    Class("chords once stood between `+` (ABC 12.1.3)", in_music(r"\+([^+|]+)\+", r"[\1]")),
    Class("`=3D`, and `=` or `=20` at a line's end, are mail's (RFC 2045)", unmailed),
)
