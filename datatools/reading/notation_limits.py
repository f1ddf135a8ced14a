"""What MusicXML and kern may ask of music21, which believes any number and would then work for hours."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

# The largest number that an element may hold, signs and fractions aside.
MOST = {
    "beats": 99,
    "beat-type": 128,
    "fifths": 14,
    "staves": 16,
    "staff": 16,
    "alter": 4,
    "octave": 16,
    "octave-change": 10,
    "diatonic": 100,
    "chromatic": 100,
    "actual-notes": 128,
    "normal-notes": 128,
    "tremolo": 8,
    "measure-repeat": 100,
    "multiple-rest": 1_000,
    "midi-program": 128,
    "midi-unpitched": 128,
    "divisions": 10_000_000,
    "duration": 1_000_000_000,
}
MOST_TIMES = 20  # that a repeat may be played
MOST_PLAYED = 20_000  # measures of a part with its repeats written out
MOST_DEPTH = 200  # elements inside one another
_METER = re.compile(r"^(?:.*\t)?\*M(\d+)(?:/(\d+))?", re.MULTILINE)


class Refused(ValueError):
    """A reason of ours, told as it is; what music21 says is told as its."""


def check_xml(text: str) -> None:
    """Refused for a file that asks too much; ParseError where it is no XML."""
    root = ElementTree.XML(text)
    for element, depth in _walk(root):
        if depth > MOST_DEPTH:
            raise Refused(f"its elements stand more than {MOST_DEPTH} deep in one another")
        most = MOST.get(element.tag)
        if most is not None:
            _check(f"<{element.tag}>", element.text or "", most)
    for part in root.findall("part"):
        _check_repeats(part)


def check_kern(text: str) -> None:
    """Refused for a meter that no music has."""
    for match in _METER.finditer(text):
        for number in match.groups("1"):
            _check("*M", number, MOST["beats"])


def _walk(root: Element) -> Iterator[tuple[Element, int]]:
    """Every element and how deep it stands; without recursion, which a hostile file would exhaust."""
    stack = [(root, 0)]
    while stack:
        element, depth = stack.pop()
        yield element, depth
        stack.extend((child, depth + 1) for child in element)


def _check(name: str, text: str, most: int) -> None:
    whole = re.sub(r"\.\d*", "", text)
    for number in [whole] if "e" in whole.lower() else re.findall(r"\d+", whole):
        if len(number) > 10 or not number.isdecimal() or int(number) > most:
            raise Refused(f'its {name} is "{text.strip()[:20]}"; expected at most {most}')


def _check_repeats(part: Element) -> None:
    """music21 plays repeats within repeats, so that the measures may double with every sign."""
    begun: list[int] = []  # measures played before each |: that is still open
    last = played = 0
    for measure in part.findall("measure"):
        signs = [sign for line in measure.findall("barline") for sign in line.findall("repeat")]
        begun += [played] * sum(sign.get("direction") == "forward" for sign in signs)
        played += 1
        for sign in signs:
            times = sign.get("times", "2")
            _check("number of playings", times, MOST_TIMES)
            if sign.get("direction") == "backward":
                start = begun.pop() if begun else last
                played += (played - start) * max(int(times) - 1 if times.isdecimal() else 1, 1)
                last = last if begun else played
        if played > MOST_PLAYED:
            raise Refused(f"its repeats play more than {MOST_PLAYED} measures")
