"""MusicXML 1.0 to 4.0, partwise or timewise, to written bars.

Sounding pitches, whatever an instrument transposes by; what `<duration>` counts, whatever `<type>` shows; measure n of
all parts begins together, and lasts as long as its notes and rests, whatever a `<forward>` leaves open. A `<cue/>` note
is silent, as the standard says, but sounds in files that MuseScore wrote, which marks every small note so; a remark
says which.

Source: W3C Music Notation Community Group, MusicXML 4.0.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import lcm
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from core.words import agree, counted
from datatools.reading.musicxml.attributes import Attributes, number, tempo_of
from datatools.reading.musicxml.signs import read_signs, sound_signs
from datatools.reading.repeats import Refused, Signs
from datatools.reading.written import GRACES, VELOCITY, Bar, Mark, Note, Track, Written

MOST_BARS = 20_000
FINEST = 10**15  # units of time a quarter
# How notes look and what is sung: a third of all elements, which nothing here asks for.
_UNREAD = re.compile(r"<(stem|beam|type|accidental|syllabic|text)\b[^<>]*>[^<]*</\1>")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read(text: str) -> Written:
    """The score in a MusicXML text; ValueError with a one-line reason when there is none."""
    if "<score-partwise" not in text and "<score-timewise" not in text:
        raise Refused("it is no MusicXML: there is no <score-partwise> in it")
    if "<!ENTITY" in text:
        raise Refused("it defines XML entities, which no score needs")
    try:
        root = _tree(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        what = str(error).partition(":")[0]
        raise Refused(f"line {line}, column {column}: its XML is broken: {what}") from error
    return _Reader(root).run()


def _tree(text: str) -> Element:
    try:
        return ElementTree.XML(_UNREAD.sub("", text))
    except ElementTree.ParseError:
        return ElementTree.XML(text)  # which says where in the file


class _Reader:
    def __init__(self, root: Element) -> None:
        self.root = root
        divisions = {int(number(e, 1, 10_000_000) or 1) for e in root.iter("divisions")} | {1}
        self.unit = lcm(GRACES, *divisions)
        if self.unit > FINEST:
            raise Refused("its <divisions> have no common measure that music could need")
        software = " ".join(element.text or "" for element in root.iterfind("identification/encoding/software"))
        self.cues_sound = "musescore" in software.lower()
        self.bars: list[Bar] = []
        self.head_tags = [tag for tag in ("pitch", "unpitched") if next(root.iter(tag), None) is not None]
        self.heads: list[int] = []
        self.silent: list[int] = []
        self.tracks: dict[tuple[int, str, int, bool], tuple[int, Track]] = {}
        self.counts: Counter[str] = Counter()

    def run(self) -> Written:
        for index, (identity, measures) in enumerate(_parts(self.root)):
            if len(measures) > MOST_BARS:
                raise Refused(f"it has {len(measures)} measures; expected at most {MOST_BARS}")
            _Part(self, index, self._names(identity)).read(measures)
        if not self.bars:
            raise Refused("it has no notes: there is no measure in it")
        order = sorted(self.tracks, key=lambda key: key[:2])
        place = {self.tracks[key][0]: new for new, key in enumerate(order)}
        for bar in self.bars:
            for note in bar.notes:
                note.track = place[note.track]
        tracks = [self.tracks[key][1] for key in order]
        result = Written(self._title(), self.unit, tracks, self.bars, self.heads, self.silent)
        result.remarks += self._remarks()
        return result

    def bar(self, index: int) -> Bar:
        while len(self.bars) <= index:
            self.bars.append(Bar(signs=Signs()))
            self.heads.append(0)
            self.silent.append(0)
        return self.bars[index]

    def track(self, part: int, staff: str, track: Track) -> int:
        key = (part, staff, track.program, track.is_drum)
        return self.tracks.setdefault(key, (len(self.tracks), track))[0]

    def _title(self) -> str:
        for path in ("work/work-title", "movement-title"):
            title = " ".join((self.root.findtext(path) or "").split())
            if title:
                return title
        return ""

    def _names(self, identity: str) -> "_Names":
        for element in self.root.iterfind("part-list/score-part"):
            if element.get("id") == identity:
                return _Names(element)
        return _Names(Element("score-part"))

    def _remarks(self) -> Iterator[str]:
        counts = self.counts
        if counts["cue"]:
            cues = counts["cue"]
            how = f"{agree(cues, 'is', 'are')} silent, as the standard says"
            if self.cues_sound:
                how = f"{agree(cues, 'sounds', 'sound')}, as MuseScore wrote {agree(cues, 'it', 'them')}"
            yield f"{counted(cues, 'cue note')} {how}"
        if counts["mute"]:
            yield f"left out {counted(counts['mute'], 'unpitched note')} whose sound the file does not say"
        if counts["range"]:
            yield f"left out {counted(counts['range'], 'note')} outside MIDI's range"
        if counts["back"]:
            lead, its = agree(counts["back"], "leads", "lead"), agree(counts["back"], "its", "their")
            yield f"{counts['back']:,} <backup> {lead} before {its} measure's beginning"
        if counts["simile"]:
            signs = counts["simile"]
            repeat, are = agree(signs, "repeats", "repeat"), agree(signs, "is", "are")
            yield f"{counted(signs, 'sign')} that {repeat} the measure before {are} not played"


class _Names:
    """What a `<score-part>` says of a part's instruments."""

    def __init__(self, element: Element) -> None:
        self.name = " ".join((element.findtext("part-name") or "").split())
        self.programs: dict[str, int] = {}
        self.drums: dict[str, int] = {}
        self.first = ""
        for instrument in element.iterfind("midi-instrument"):
            identity = instrument.get("id", "")
            self.first = self.first or identity
            for tag, kept in (("midi-program", self.programs), ("midi-unpitched", self.drums)):
                text = (instrument.findtext(tag) or "").strip()
                if text.isdecimal() and 1 <= int(text[:4]) <= 128:  # some programs write 0 for none
                    kept[identity] = int(text) - 1

    def program(self, instrument: str) -> int:
        return self.programs.get(instrument, self.programs.get(self.first, 0))

    def drum(self, instrument: str) -> int | None:
        """The sound of an unpitched note; a part's only instrument need not be named."""
        if instrument or len(self.drums) != 1:
            return self.drums.get(instrument)
        return next(iter(self.drums.values()))


class _Part:
    def __init__(self, reader: _Reader, index: int, names: _Names) -> None:
        self.reader = reader
        self.index = index
        self.names = names
        self.attributes = Attributes(reader.unit)
        self.tracks: dict[tuple[str, str, bool], int] = {}  # of staff and instrument, and whether pitched
        self.graces: dict[str, list[list[Note]]] = {}

    def read(self, measures: list[Element]) -> None:
        ending: tuple[int, ...] = ()
        for index, measure in enumerate(measures):
            bar = self.reader.bar(index)
            self.reader.heads[index] += self._heads(measure)
            self._measure(index, measure, bar)
            ending = read_signs(measure, index, self.reader.bar, ending)
        for groups in self.graces.values():  # those at the very end lead to no note and begin where they are written
            for note in (note for group in groups for note in group):
                note.start += len(groups) * note.length

    def _heads(self, measure: Element) -> int:
        return sum(len(list(measure.iter(tag))) for tag in self.reader.head_tags)

    def _measure(self, index: int, measure: Element, bar: Bar) -> None:
        attributes = self.attributes
        at = last = reached = spaced = 0  # the cursor, the last note's start, the ends of notes and of <forward>
        for element in measure:
            tag = element.tag
            if tag == "note":
                inside = {child.tag: child for child in element}
                if "grace" in inside:
                    self._grace(element, inside, at, index, bar)
                    reached = max(reached, at)
                    continue
                length = attributes.time(inside.get("duration"))
                if "chord" not in inside:
                    last = at
                    at += length
                if last + length > reached:
                    reached = last + length
                if "rest" not in inside:
                    if self.graces:
                        self.graces.pop(_text(inside, "voice"), None)
                    self._note(element, inside, last, length, index, bar)
            elif tag == "backup":
                at -= attributes.time(element.find("duration"))
                if at < 0:
                    self.reader.counts["back"] += 1
                    at = 0
            elif tag == "forward":
                at += attributes.time(element.find("duration"))
                spaced = max(spaced, at)
            elif tag == "attributes":
                attributes.read(element)
                bar.marks += [Mark(at, kind, value) for kind, value in attributes.marks(element)]
                if element.find("measure-style") is not None and not self._heads(measure):  # else it shows the notes
                    self.reader.counts["simile"] += len(element.findall("measure-style/measure-repeat[@type='start']"))
            elif tag in ("direction", "sound"):
                speed = tempo_of(element)
                if speed is not None:
                    bar.marks.append(Mark(max(0, at + attributes.offset(element)), "tempo", (speed,)))
                sound_signs(element, bar.signs)
        if attributes.bar and not any(child.find("rest") is None for child in measure.iterfind("note")):
            reached = min(reached, attributes.bar)  # some programs write a whole bar's rest twice
        bar.filled[self.index] = reached
        bar.length = max(bar.length, reached)
        bar.reach = max(bar.reach, spaced)

    def _grace(self, element: Element, inside: dict[str, Element], at: int, index: int, bar: Bar) -> None:
        """Adds a grace note; those before one note in one voice share the time before it."""
        note = self._note(element, inside, at, self.reader.unit // GRACES, index, bar)
        if note is None:
            return
        groups = self.graces.setdefault(note.voice, [])
        if "chord" in inside and groups:
            note.start = groups[-1][0].start
            groups[-1].append(note)
            return
        for earlier in (earlier for group in groups for earlier in group):
            earlier.start -= note.length
        note.start -= note.length
        groups.append([note])

    def _note(
        self, element: Element, inside: dict[str, Element], start: int, length: int, index: int, bar: Bar
    ) -> Note | None:
        """Adds a note, unless it is one that makes no sound; `inside` holds its children by tag."""
        if "pitch" not in inside and "unpitched" not in inside:
            return None
        if "cue" in inside:
            self.reader.counts["cue"] += 1
            if not self.reader.cues_sound:
                self.reader.silent[index] += 1
                return None
        found = self._sound(inside, index)
        if found is None:
            self.reader.silent[index] += 1
            return None
        loudness = element.get("dynamics")
        velocity = VELOCITY if loudness is None else _velocity(loudness)
        note = Note(start, length, found[0], self.index, _text(inside, "voice"), found[1], velocity)
        if "tie" in inside or "notations" in inside:
            ties = _ties(element, "tie" in inside)
            note.begins_tie = "start" in ties or "continue" in ties
            note.ends_tie = "stop" in ties or "continue" in ties
        bar.notes.append(note)
        return note

    def _sound(self, inside: dict[str, Element], index: int) -> tuple[int, int] | None:
        """(pitch, track) of a note; None for one that MIDI cannot sound, which is counted."""
        staff = _text(inside, "staff") or "1"
        instrument = inside["instrument"].get("id", "") if "instrument" in inside else ""
        if "pitch" not in inside:
            sound = self.names.drum(instrument)
            if sound is None:
                self.reader.counts["mute"] += 1
                return None
            return sound, self._track(staff, instrument, pitched=False)
        written = _pitch(tuple([(child.tag, child.text) for child in inside["pitch"]]))
        if written is None:
            raise Refused(f"measure {index + 1}: a pitch without its step or octave")
        midi = written + self.attributes.transposed(staff) if self.attributes.transpositions else written
        if not 0 <= midi <= 127:
            self.reader.counts["range"] += 1
            return None
        return midi, self._track(staff, instrument, pitched=True)

    def _track(self, staff: str, instrument: str, pitched: bool) -> int:
        key = (staff, instrument, pitched)
        found = self.tracks.get(key)
        if found is None:
            track = Track(self.names.name, self.names.program(instrument) if pitched else 0, not pitched)
            found = self.tracks[key] = self.reader.track(self.index, staff, track)
        return found


@lru_cache(maxsize=2**12)
def _pitch(children: tuple[tuple[str, str | None], ...]) -> int | None:
    """The written pitch that a `<pitch>` holds as (tag, text); None without a step or octave."""
    texts = {tag: (text or "").strip() for tag, text in children}
    step = _SEMITONES.get(texts.get("step", ""))
    octave = number(texts.get("octave"), -2, 16, "<octave>")
    if step is None or octave is None:
        return None
    return 12 * (int(octave) + 1) + step + round(number(texts.get("alter"), -4, 4, "<alter>") or 0)


@lru_cache(maxsize=2**10)
def _velocity(dynamics: str) -> int:
    loudness = number(dynamics, 0, 1000, "dynamics")
    return VELOCITY if loudness is None else max(1, min(127, round(loudness * 0.9)))


def _ties(element: Element, sounding: bool) -> set[str | None]:
    """Types of a note's `<tie>`, or where it has none, of its `<tied>`."""
    if sounding:
        return {tie.get("type") for tie in element if tie.tag == "tie"}
    return {tied.get("type") for child in element if child.tag == "notations" for tied in child if tied.tag == "tied"}


def _text(inside: dict[str, Element], tag: str) -> str:
    element = inside.get(tag)
    return "" if element is None else (element.text or "").strip()


def _parts(root: Element) -> Iterator[tuple[str, list[Element]]]:
    """Each part's id and measures; a timewise score has its parts inside the measures."""
    if root.tag == "score-partwise":
        for part in root.iterfind("part"):
            yield part.get("id", ""), part.findall("measure")
        return
    measures = root.findall("measure")
    names = dict.fromkeys(part.get("id", "") for measure in measures for part in measure.iterfind("part"))
    for name in names:
        yield name, [next(iter(measure.findall(f"part[@id='{name}']")), Element("part")) for measure in measures]
