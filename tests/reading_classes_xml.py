"""Why another reader plays a MusicXML file otherwise than we do: amendments that write out what the standard says.

Each takes a whole score and changes it in place. None but that of the grace notes may change what we play.

Source: W3C Music Notation Community Group, MusicXML 4.0, the element that each class names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tests.reading_classes import Class

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TYPES = (("whole", 4.0), ("half", 2.0), ("quarter", 1.0), ("eighth", 0.5), ("16th", 0.25), ("32nd", 0.125))


@dataclass(slots=True)
class Head:
    """A note in its measure, whose length and place are in divisions."""

    note: Element
    start: int
    length: int


def heads(measure: Element) -> tuple[list[Head], int]:
    """The measure's notes and rests but for grace notes, and where its cursor ends."""
    found: list[Head] = []
    at = last = 0
    for element in measure:
        length = int(element.findtext("duration") or 0)
        if element.tag == "note" and element.find("grace") is None:
            if element.find("chord") is None:
                last = at
                at += length
            found.append(Head(element, last, length))
        elif element.tag in ("backup", "forward"):
            at += length if element.tag == "forward" else -length
    return found, at


def scaled(root: Element) -> int:
    """Gives all parts the same divisions, which are returned."""
    common = lcm(*(int(element.text or 1) for element in root.iter("divisions")), 8)
    for part in root.iter("part"):
        factor = common
        for element in part.iter():
            if element.tag == "divisions":
                factor = common // int(element.text or 1)
                element.text = str(common)
            elif element.tag == "duration":
                element.text = str(round(Fraction(element.text or 0) * factor))
    return common


def columns(root: Element) -> Iterator[list[Element]]:
    """Measure n of all parts, for each n."""
    parts = [part.findall("measure") for part in root.iter("part")]
    for index in range(max(map(len, parts), default=0)):
        yield [measures[index] for measures in parts if index < len(measures)]


def completed(root: Element) -> None:
    """All measures n as long as the longest, by rests; a part that only rests, for no longer than the meter says."""
    common = scaled(root)
    whole = 4 * common
    for measures in columns(root):
        for time in (time for measure in measures for time in measure.iter("time")):
            if time.find("beats") is not None:
                beats = sum(map(int, (time.findtext("beats") or "4").split("+")))
                whole = 4 * common * beats // int(time.findtext("beat-type") or 4)
        ends = []
        for measure in measures:
            notes, _ = heads(measure)
            rests = [head for head in notes if head.note.find("rest") is not None]
            end = max((head.start + head.length for head in notes), default=0)
            if rests and len(rests) == len(notes) and end >= whole:
                for element in [e for e in measure if e.tag in ("note", "backup", "forward")]:
                    measure.remove(element)
                resting(measure, whole, common)
                end = whole
            ends.append(end)
        for measure, end in zip(measures, ends, strict=True):
            if 0 < end < max(ends):
                _, at = heads(measure)
                if at != end:
                    move = SubElement(measure, "forward" if at < end else "backup")
                    SubElement(move, "duration").text = str(abs(at - end))
                resting(measure, max(ends) - end, common)


def resting(measure: Element, length: int, quarter: int) -> None:
    """Rests at the end of a measure that look as long as they are."""
    voices = [element.text for element in measure.iter("voice")]
    for name, quarters in TYPES:
        while length >= quarters * quarter >= 1:
            note = SubElement(measure, "note")
            SubElement(note, "rest")
            SubElement(note, "duration").text = str(int(quarters * quarter))
            SubElement(note, "voice").text = voices[-1] if voices else "1"
            SubElement(note, "type").text = name
            length -= int(quarters * quarter)
    if length:
        SubElement(SubElement(measure, "forward"), "duration").text = str(length)


def untied(root: Element) -> None:
    """Without the ends of ties that no tie of that part and pitch leads to: the head stands there, and sounds."""
    scaled(root)
    starts, now = [], 0
    for measures in columns(root):
        starts.append(now)
        now += max((head.start + head.length for measure in measures for head in heads(measure)[0]), default=0)
    for part in root.iter("part"):
        placed = [
            (starts[index] + head.start, head)
            for index, measure in enumerate(part.findall("measure"))
            for head in heads(measure)[0]
            if head.note.find("pitch") is not None
        ]
        leads = {(at + head.length, pitch(head.note)) for at, head in placed if "start" in types(head.note)}
        for at, head in placed:
            if "stop" in types(head.note) and (at, pitch(head.note)) not in leads:
                for parent in (head.note, *head.note.findall("notations")):
                    for tie in [e for e in parent if e.tag in ("tie", "tied") and e.get("type") == "stop"]:
                        parent.remove(tie)


def types(note: Element) -> set[str | None]:
    return {tie.get("type") for tie in note.findall("tie")} or {tie.get("type") for tie in note.iter("tied")}


def pitch(note: Element) -> int:
    step, octave = note.findtext("pitch/step") or "C", note.findtext("pitch/octave") or "4"
    return 12 * int(octave) + SEMITONES[step] + round(float(note.findtext("pitch/alter") or 0))


def without(tag: str, inside: str = "") -> Callable[[Element], None]:
    """An amendment that leaves out the elements of a tag, or those that hold one of it."""

    def amend(root: Element) -> None:
        for parent in list(root.iter()):
            for child in [child for child in parent if child.tag == (inside or tag)]:
                if not inside or child.find(tag) is not None:
                    parent.remove(child)

    return amend


def silenced(root: Element) -> None:
    """Rests for cue notes."""
    for measure in root.iter("measure"):
        for note in [note for note in measure.findall("note") if note.find("cue") is not None]:
            if note.find("chord") is not None or note.find("grace") is not None:
                measure.remove(note)
                continue
            for element in [e for e in note if e.tag not in ("duration", "voice", "type", "dot", "staff")]:
                note.remove(element)
            note.insert(0, Element("rest"))


def change(amend: Callable[[Element], None]) -> Callable[[str], str]:
    """An amendment of a text; the text itself where it changes nothing."""

    def amended(text: str) -> str:
        root = ElementTree.fromstring(text.encode("utf-8", "replace"))
        before = ElementTree.tostring(root, encoding="unicode")
        amend(root)
        after = ElementTree.tostring(root, encoding="unicode")
        return text if before == after else after

    return amended


XML = (
    Class("a tremolo is a sign and not played out (tremolo)", change(without("tremolo"))),
    Class("an arpeggio is a sign and not played out (arpeggiate)", change(without("arpeggiate"))),
    Class("the pitch that sounds is `<alter>`, whatever `<accidental>` shows (alter)", change(without("accidental"))),
    Class(
        "a measure-style is a way to print: the notes under it sound (measure-style)", change(without("measure-style"))
    ),
    Class("a cue note is silent (cue)", change(silenced)),
    Class("a note that ends a tie is struck where no tie leads to it (tie)", change(untied)),
    Class("measure n of all parts begins together, if one lacks time or rests too long (measure)", change(completed)),
    Class("how long grace notes last is left open (grace)", change(without("grace", "note")), is_open=True),
)
