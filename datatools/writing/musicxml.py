"""A score as MusicXML: keys, meters, pitches, voices, ties, tuplets, lyrics, tempos, loudness, instruments, drums.

What lies between two bar lines comes from the same Tune that ABC is written from, so that both print the same music;
a note must lie on its grid of 24 steps a quarter. A drum is an unpitched note whose instrument bears the key of General
MIDI's percussion map.

Source: W3C MusicXML 4.0.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import symusic

from datatools.abc.keys import LETTERS, Key, Meter
from datatools.abc.lyrics import goes_on, shown
from datatools.abc.tune import Bar, Event, Pitch, Tune
from datatools.abc.writer import tune_of

DIVISIONS = 24  # of a quarter
_HEADS = ("long", "breve", "whole", "half", "quarter", "eighth", "16th", "32nd", "64th", "128th")
_TYPES = {Fraction(4, 2**power): name for power, name in enumerate(_HEADS)}
_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 '
    'Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_FULL = 90  # the MIDI velocity that MusicXML calls 100 %

Onsets = dict[tuple[int, int], int]  # (time in divisions, MIDI pitch) -> velocity


def text(score: symusic.Score, title: str = "") -> str:
    """The score as one MusicXML document; ValueError naming the first note that is off the grid."""
    from io import BytesIO

    root = document(score, title)
    indent(root, " ")
    out = BytesIO()
    ElementTree(root).write(out, encoding="utf-8")
    return _DOCTYPE + out.getvalue().decode("utf-8") + "\n"


def document(score: symusic.Score, title: str = "") -> Element:
    """The tree of `text`: one part a track."""
    tracks = [track for track in score.tracks if len(track.notes)]
    tune = tune_of(_pitched(score), title=title)
    root = Element("score-partwise", version="4.0")
    SubElement(SubElement(root, "work"), "work-title").text = tune.title or "untitled"
    parts = SubElement(root, "part-list")
    for number, track in enumerate(tracks, 1):
        _instrument(parts, f"P{number}", track, number)
    for number, track in enumerate(tracks, 1):
        voices = [voice for voice, owner in zip(tune.voices, tune.tracks, strict=True) if owner == number - 1]
        part = SubElement(root, "part", id=f"P{number}")
        _Part(part, f"P{number}", track, tune, voices, score if number == 1 else None, score.ticks_per_quarter).write()
    return root


def _pitched(score: symusic.Score) -> symusic.Score:
    """The score with its drums as if they were notes, which is how their rhythm is laid out."""
    copy = score.copy()
    for track in copy.tracks:
        track.is_drum = False
    return copy


def _instrument(parts: Element, name: str, track: Any, number: int) -> None:
    part = SubElement(parts, "score-part", id=name)
    SubElement(part, "part-name").text = track.name or ("Drums" if track.is_drum else f"Track {number}")
    keys = sorted({note.pitch for note in track.notes}) if track.is_drum else [0]
    for key in keys:
        SubElement(SubElement(part, "score-instrument", id=f"{name}-I{key}"), "instrument-name").text = (
            f"percussion {key}" if track.is_drum else part[0].text
        )
    channel = 10 if track.is_drum else 1 + (number - 1) % 15 + ((number - 1) % 15 >= 9)
    for key in keys:
        midi = SubElement(part, "midi-instrument", id=f"{name}-I{key}")
        SubElement(midi, "midi-channel").text = str(channel)
        SubElement(midi, "midi-program").text = str(track.program + 1)
        if track.is_drum:
            SubElement(midi, "midi-unpitched").text = str(key + 1)


class _Part:
    """Writes one track, bar by bar, its voices after one another; `conductor` is the score whose tempos it bears."""

    def __init__(
        self,
        part: Element,
        name: str,
        track: Any,
        tune: Tune,
        voices: list[list[Bar]],
        conductor: "symusic.Score | None",
        per_quarter: int,
    ) -> None:
        self.part, self.name, self.drums, self.voices = part, name, track.is_drum, voices
        self.key = tune.key
        self.tempos = _tempos(conductor) if conductor is not None else []
        self.loud: Onsets = {(note.time * DIVISIONS // per_quarter, note.pitch): note.velocity for note in track.notes}
        pitches = [note.pitch for note in track.notes]
        self.low = sum(pitches) / len(pitches) < 57
        self.open: list[set[int]] = [set() for _ in voices]  # MIDI pitches that a tie leads to, by voice
        self.word = [False for _ in voices]  # whether the last syllable's word goes on, by voice

    def write(self) -> None:
        """All bars; each begins where the last one ended, whatever a voice has in it."""
        at = 0
        meter: Meter = None
        key: Key | None = None
        for number in range(max(len(voice) for voice in self.voices)):
            bars = [voice[number] if number < len(voice) else None for voice in self.voices]
            present = [bar for bar in bars if bar is not None]
            length = round(max(bar.duration for bar in present) * 4 * DIVISIONS)
            measure = SubElement(self.part, "measure", number=str(number + 1))
            found = present[0].meter
            if found and length != 4 * DIVISIONS * found[0] // found[1]:
                measure.set("implicit", "yes")
            first = next((bar.events[0].key for bar in present if bar.events), key or self.key)
            self._attributes(measure, first if first != key else None, found if found != meter else None, number == 0)
            key, meter = first, found
            for time, tempo in self.tempos:
                if at <= time < at + length:
                    _tempo(measure, tempo, time - at)
            for voice, bar in enumerate(bars):
                if bar is None:
                    continue
                if voice:
                    SubElement(SubElement(measure, "backup"), "duration").text = str(length)
                written = self._voice(measure, voice, bar, at)
                if written < length:
                    SubElement(SubElement(measure, "forward"), "duration").text = str(length - written)
            at += length
        SubElement(SubElement(measure, "barline", location="right"), "bar-style").text = "light-heavy"

    def _attributes(self, measure: Element, key: Key | None, meter: Meter, first: bool) -> None:
        if not (first or key or meter):
            return
        attributes = SubElement(measure, "attributes")
        if first:
            SubElement(attributes, "divisions").text = str(DIVISIONS)
        if key and not self.drums:
            inside = SubElement(attributes, "key")
            SubElement(inside, "fifths").text = str(key.fifths)
            SubElement(inside, "mode").text = "minor" if key.minor else "major"
        if meter:
            inside = SubElement(attributes, "time")
            SubElement(inside, "beats").text, SubElement(inside, "beat-type").text = str(meter[0]), str(meter[1])
        if first:
            clef = SubElement(attributes, "clef")
            SubElement(clef, "sign").text = "percussion" if self.drums else "F" if self.low else "G"
            if not self.drums:
                SubElement(clef, "line").text = "4" if self.low else "2"

    def _voice(self, measure: Element, voice: int, bar: Bar, start: int) -> int:
        at = 0
        for _, group in groupby(bar.events, key=lambda event: id(event.tuplet) if event.tuplet else 0):
            events = list(group)
            for index, event in enumerate(events):
                length = round(event.duration * 4 * DIVISIONS)
                ends = {"start": index == 0, "stop": index == len(events) - 1} if event.tuplet else {}
                self._event(measure, voice, event, start + at, length, [end for end, here in ends.items() if here])
                at += length
        return at

    def _event(self, measure: Element, voice: int, event: Event, time: int, length: int, brackets: list[str]) -> None:
        held, self.open[voice] = self.open[voice], set()
        for index, pitch in enumerate(event.pitches or (None,)):
            note = SubElement(measure, "note")
            if pitch is None:
                SubElement(note, "rest")
            else:
                velocity = self.loud.get((time, pitch.midi))
                if velocity is not None:
                    note.set("dynamics", f"{velocity * 100 / _FULL:.4g}")
                if index:
                    SubElement(note, "chord")
                self._pitch(note, pitch)
            SubElement(note, "duration").text = str(length)
            ties = list(_ties(pitch, index, event, held))
            for kind in ties:
                SubElement(note, "tie", type=kind)
            if pitch is not None:
                if event.ties and event.ties[index]:
                    self.open[voice].add(pitch.midi)
                key = pitch.midi if self.drums else 0
                SubElement(note, "instrument", id=f"{self.name}-I{key}")
            SubElement(note, "voice").text = str(voice + 1)
            head, dots = _head(event.length)
            SubElement(note, "type").text = head
            for _ in range(dots):
                SubElement(note, "dot")
            if event.tuplet:
                change = SubElement(note, "time-modification")
                SubElement(change, "actual-notes").text = str(event.tuplet.p)
                SubElement(change, "normal-notes").text = str(event.tuplet.q)
            if ties or (brackets and not index):
                notations = SubElement(note, "notations")
                for kind in ties:
                    SubElement(notations, "tied", type=kind)
                for bracket in brackets if not index else ():
                    SubElement(notations, "tuplet", type=bracket)
            if event.syllable and not index:
                self._lyric(note, voice, event.syllable)

    def _lyric(self, note: Element, voice: int, syllable: str) -> None:
        """Tells a syllable, and whether it begins, goes on with, ends or is its word."""
        begun, on = self.word[voice], goes_on(syllable)
        lyric = SubElement(note, "lyric")
        kinds = {(False, False): "single", (False, True): "begin", (True, True): "middle", (True, False): "end"}
        SubElement(lyric, "syllabic").text = kinds[begun, on]
        SubElement(lyric, "text").text = shown(syllable.removesuffix("-") if on else syllable)
        self.word[voice] = on

    def _pitch(self, note: Element, pitch: Pitch) -> None:
        octave, letter = divmod(pitch.step, 7)
        if self.drums:
            inside = SubElement(note, "unpitched")
            SubElement(inside, "display-step").text = LETTERS[letter]
            SubElement(inside, "display-octave").text = str(octave)
            return
        inside = SubElement(note, "pitch")
        SubElement(inside, "step").text = LETTERS[letter]
        if pitch.alter:
            SubElement(inside, "alter").text = str(pitch.alter)
        SubElement(inside, "octave").text = str(octave)


def _ties(pitch: Pitch | None, index: int, event: Event, held: set[int]) -> Iterator[str]:
    if pitch is not None and pitch.midi in held:
        yield "stop"
    if pitch is not None and event.ties and event.ties[index]:
        yield "start"


def _head(length: Fraction) -> tuple[str, int]:
    """The note head that lasts `length` whole notes, and its dots."""
    for dots in (0, 1, 2):
        name = _TYPES.get(length / (2 - Fraction(1, 2**dots)))
        if name:
            return name, dots
    raise ValueError(f"no note head lasts {length} of a whole note")


def _tempos(score: symusic.Score) -> list[tuple[int, float]]:
    return [(tempo.time * DIVISIONS // score.ticks_per_quarter, tempo.qpm) for tempo in score.tempos]


def _tempo(measure: Element, tempo: float, offset: int) -> None:
    direction = SubElement(measure, "direction", placement="above")
    metronome = SubElement(SubElement(direction, "direction-type"), "metronome")
    SubElement(metronome, "beat-unit").text = "quarter"
    SubElement(metronome, "per-minute").text = f"{tempo:.6g}"
    if offset:
        SubElement(direction, "offset", sound="yes").text = str(offset)
    SubElement(direction, "sound", tempo=f"{tempo:.8g}")
