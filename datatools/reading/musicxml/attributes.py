"""What holds for a part from a point on in MusicXML: divisions, meter, key and transposition; and tempos."""

import re
from collections.abc import Iterator
from fractions import Fraction
from xml.etree.ElementTree import Element

from datatools.reading.repeats import Refused

_BEATS = {"breve": 8, "whole": 4, "half": 2, "quarter": 1, "eighth": 0.5, "16th": 0.25, "32nd": 0.125}
LONGEST = 1_000_000_000  # divisions of a note
MOST_DIVISIONS = 10_000_000  # a quarter


def number(source: Element | str | None, least: float, most: float, name: str = "") -> float | None:
    """The number of an element or attribute; None where there is none, Refused where it is none or out of bounds."""
    text = source if isinstance(source, str) else "" if source is None else (source.text or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if least <= value <= most:
        return value
    name = name or ("" if source is None or isinstance(source, str) else f"<{source.tag}>")
    raise Refused(f'its {name} is "{text[:20]}"; expected {least:g} to {most:g}')


class Attributes:
    """The state that `<attributes>` elements change; times in units, `unit` a quarter."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.division = unit  # of one `<divisions>`
        self.lengths: dict[str | None, int] = {}  # of durations by their text, under these divisions
        self.bar = 0  # length of a whole bar, 0 without a meter
        self.transpositions: dict[str, tuple[int, int | None]] = {}  # staff ("" for all): semitones, steps

    def time(self, duration: Element | None) -> int:
        """The length that a `<duration>` counts; none without one."""
        if duration is None:
            return 0
        found = self.lengths.get(duration.text)
        if found is None:
            found = self.lengths[duration.text] = round(Fraction(number(duration, 0, LONGEST) or 0) * self.division)
        return found

    def offset(self, direction: Element) -> int:
        """How far behind its place a direction holds."""
        return round(Fraction(number(direction.find("offset"), -LONGEST, LONGEST) or 0) * self.division)

    def transposed(self, staff: str) -> int:
        """Semitones from what is written to what sounds."""
        return self.transpositions.get(staff, self.transpositions.get("", (0, None)))[0]

    def read(self, element: Element) -> None:
        divisions = number(element.find("divisions"), 1, MOST_DIVISIONS)
        if divisions is not None:
            self.division = self.unit // int(divisions)
            self.lengths.clear()
        for transpose in element.findall("transpose"):
            octaves = int(number(transpose.find("octave-change"), -10, 10) or 0)
            octaves -= transpose.find("double") is not None
            semitones = int(number(transpose.find("chromatic"), -100, 100) or 0)
            steps = number(transpose.find("diatonic"), -100, 100)
            staff = transpose.get("number", "")
            if not staff:
                self.transpositions.clear()
            self.transpositions[staff] = (semitones + 12 * octaves, None if steps is None else int(steps) + 7 * octaves)
        for time in element.findall("time"):
            meter = _meter(time)
            self.bar = int(4 * meter[0] * self.unit / meter[1]) if meter else 0

    def marks(self, element: Element) -> Iterator[tuple[str, tuple[float, ...]]]:
        """The meter and the sounding key that an element sets; call `read` first."""
        for time in element.findall("time")[:1]:
            meter = _meter(time)
            if meter:
                yield "meter", meter
        for key in element.findall("key")[:1]:
            fifths = number(key.find("fifths"), -14, 14)
            if fifths is None:
                continue
            semitones, steps = self.transpositions.get(key.get("number", ""), self.transpositions.get("", (0, None)))
            shift = 7 * semitones - 12 * steps if steps is not None else (7 * semitones + 6) % 12 - 6
            if -7 <= fifths + shift <= 7:
                yield "key", (fifths + shift, float((key.findtext("mode") or "").strip() == "minor"))


def _meter(time: Element) -> tuple[int, int] | None:
    """Beats and beat unit; those of a composite meter (3+2/8, or 2/4 and 3/8) added up."""
    total = Fraction(0)
    finest = 1
    for beats, unit in zip(time.findall("beats"), time.findall("beat-type"), strict=False):
        parts = [number(part.strip(), 1, 99, "<beats>") for part in (beats.text or "").split("+")]
        below = number(unit, 1, 128)
        if None in parts or below is None or int(below) & (int(below) - 1):
            raise Refused(f'its meter is "{beats.text}/{unit.text}"; expected e.g. 3/4')
        total += Fraction(int(sum(part or 0 for part in parts)), int(below))
        finest = max(finest, int(below))
    beats_in_all = int(total * finest)
    return (beats_in_all, finest) if 1 <= beats_in_all <= 255 else None


def shown(direction: Element, tag: str) -> list[Element]:
    """What a direction shows of a kind: `direction-type/TAG`, looked up without a path, which is far slower."""
    return [child for kind in direction.findall("direction-type") for child in kind if child.tag == tag]


def tempo_of(element: Element) -> float | None:
    """Quarters a minute that a `<direction>` or `<sound>` asks for: what sounds counts before what is shown."""
    sound = element if element.tag == "sound" else element.find("sound")
    if sound is not None:
        speed = number(sound.get("tempo"), -1e9, 1e9, "tempo")
        if speed is not None and speed > 0:
            return float(speed)
    for metronome in shown(element, "metronome"):
        told = re.search(r"\d+(?:\.\d+)?", metronome.findtext("per-minute") or "")
        beat = _BEATS.get((metronome.findtext("beat-unit") or "").strip())
        if told and beat and len(told[0]) < 10 and float(told[0]) > 0:
            dots = len(metronome.findall("beat-unit-dot"))
            return float(told[0]) * beat * (2 - 0.5 ** min(dots, 4))
    return None
