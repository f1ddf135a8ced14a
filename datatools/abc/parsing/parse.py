"""From a tune's symbols to items voice by voice: pitches resolved, lengths exact, repeats still as written.

An item is an Event or a Mark (bar line, repeat, ending number, part label). What a symbol does to its voice is in
`voice.py`; here the header is read, fields change voices, and chords, grace notes and lyrics are gathered.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from datatools.abc.keys import Key, Meter, default_unit, parse_key, parse_meter, parse_tempo, parse_unit
from datatools.abc.lexer import MORE, VERSE, Source, Symbol
from datatools.abc.parsing.lengths import length
from datatools.abc.parsing.marks import Mark, bar_line, ending_numbers
from datatools.abc.parsing.voice import Item, Voice
from datatools.abc.tune import Pitch

LONGEST_FIELD = 1_000  # characters; the patterns that read fields take the square of their length
MOST_VOICES = 64


@dataclass
class Parsed:
    """The header's values and each voice's items."""

    title: str
    meter: Meter
    unit: Fraction
    key: Key
    tempo: float | None
    order: str  # of the parts, from a P: field in the header
    voices: dict[str, list[Item]]
    names: dict[str, str]
    left_out: int  # grace notes that lead to no note
    unaligned: int  # syllables for which there is no note


def parse(source: Source) -> Parsed:
    """Resolves every symbol; ValueError "line N: ..." for what cannot be told."""
    return _Parser(source).run()


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.voices: dict[str, Voice] = {}
        self.names: dict[str, str] = {}
        self.tuplets = 0
        self.tempo: float | None = None  # of the header, or of a field before the first note
        self.unaligned = 0

    def run(self) -> Parsed:
        title, order, tempo_text, sounding = "", "", "", ""
        meter: Meter = (4, 4)
        unit: Fraction | None = None
        key = parse_key("C")
        declared: list[str] = []
        for letter, value, line in self.source.header:
            try:
                _check_field(letter, value)
                if letter == "T":
                    title = title or value[:LONGEST_FIELD]
                elif letter == "M":
                    meter = parse_meter(value)
                elif letter == "L":
                    unit = parse_unit(value)
                elif letter == "K":
                    key = parse_key(value) or key
                    sounding = value
                elif letter == "Q":
                    tempo_text = value
                elif letter == "P":
                    order = value
                elif letter == "V" and value:
                    declared.append(value)
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
        assert key is not None
        unit = unit or default_unit(meter)
        self.tempo = parse_tempo(tempo_text, unit) if tempo_text else None
        self.first = Voice(key, meter, unit)
        self.first.sounding(sounding)
        for value in declared:
            self._enter(value)
        self.voice = next(iter(self.voices.values())) if self.voices else self._enter("1")
        self._symbols()
        voices = {name: voice.items for name, voice in self.voices.items() if voice.begun}
        left_out = sum(len(voice.graces) for voice in self.voices.values())
        return Parsed(title, meter, unit, key, self.tempo, order, voices, self.names, left_out, self.unaligned)

    def _enter(self, value: str) -> Voice:
        """The voice that a V: field names, made when new."""
        name = (value.split() or ["1"])[0]
        if name not in self.voices:
            if len(self.voices) >= MOST_VOICES:
                raise ValueError(f"more than {MOST_VOICES} voices")
            self.voices[name] = self.first.fresh()
        self.voice = self.voices[name]
        self.voice.sounding(value.partition(" ")[2])
        label = re.search(r'(?:name|nm)=\s*"([^"]*)"', value)
        self.names[name] = label[1] if label else self.names.get(name, "")
        return self.voice

    def _symbols(self) -> None:
        stream = self._stream()
        for symbol in stream:
            try:
                self._symbol(symbol, stream)
            except ValueError as error:
                text = str(error)
                raise ValueError(text if text.startswith("line ") else f"line {symbol.line}: {text}") from None

    def _stream(self) -> Iterator[Symbol]:
        """The symbols; the lyrics behind one are sung once it has been read."""
        for symbol in self.source.symbols:
            yield symbol
            verses: list[list[str]] = []
            for how, line in symbol.words or ():
                if how == MORE:
                    verses[-1].append(line)
                    continue
                if how != VERSE:
                    self._sing(verses)
                    verses = []
                verses.append([line])
            self._sing(verses)

    def _sing(self, verses: list[list[str]]) -> None:
        if verses:
            self.unaligned += self.voice.sing(verses)

    def _symbol(self, symbol: Symbol, stream: Iterator[Symbol]) -> None:
        voice, kind, parts = self.voice, symbol.kind, symbol.parts
        if kind == "note":
            voice.place((self._pitch(parts),), length(parts[3]), (False,), symbol.chord)
        elif kind == "bar":
            voice.end_bar(bar_line(parts[0], symbol.line), self.source.propagate)
        elif kind == "rest":
            voice.rest(parts, symbol.chord)
        elif kind == "tie":
            voice.tie()
        elif kind == "broken":
            voice.broken(parts[0])
        elif kind == "tuplet":
            self.tuplets += 1
            voice.begin_tuplet(parts, self.tuplets)
        elif kind == "grace":
            voice.graces += self._graces(stream)
        elif kind == "open":
            self._chord(stream, "close", symbol.chord)
        elif kind == "plus":
            self._chord(stream, "plus", symbol.chord)
        elif kind == "overlay":
            voice.overlay(symbol.line)
        elif kind == "ending":
            voice.items.append(Mark(endings=ending_numbers(parts[0]), line=symbol.line))
        elif kind == "field":
            self._field(parts[0], parts[1].strip())
        elif kind == "close":
            pass  # the bracket of `:|]` and of chords around a whole bar line; it carries nothing
        else:
            raise ValueError("a } that closes no grace notes")

    def _pitch(self, parts: tuple[str, ...]) -> Pitch:
        return self.voice.pitch(parts, self.source.propagate)

    def _graces(self, stream: Iterator[Symbol]) -> list[Pitch]:
        graces: list[Pitch] = []
        for symbol in stream:
            if symbol.kind == "ungrace":
                return graces
            if symbol.kind == "note":
                graces.append(self._pitch(symbol.parts))
            elif symbol.kind in ("bar", "field", "grace"):
                break
        raise ValueError("grace notes without their closing }")

    def _chord(self, stream: Iterator[Symbol], end: str, chord: str) -> None:
        """The notes up to the bracket; each keeps its own length, the chord lasts as long as its first note."""
        notes: dict[Pitch, tuple[Fraction, bool]] = {}
        first: Fraction | None = None
        last: Pitch | None = None
        for symbol in stream:
            if symbol.kind == end:
                outer = length(symbol.parts[0])
                break
            if symbol.kind == "note":
                last, own = self._pitch(symbol.parts), length(symbol.parts[3])
                first = first or own
                notes.setdefault(last, (own, False))
                chord = chord or symbol.chord
            elif symbol.kind == "tie" and last is not None:
                notes[last] = (notes[last][0], True)
            elif symbol.kind in ("bar", "field", "open"):
                raise ValueError("a chord without its closing bracket")
        else:
            raise ValueError("a chord without its closing bracket")
        if first is None:
            return
        if any(own != first for own, _ in notes.values()):
            raise ValueError("a chord of notes of different lengths cannot be told in one voice")
        pitches = sorted(notes, key=lambda pitch: (pitch.midi, pitch.step))
        by_midi = {pitch.midi: pitch for pitch in reversed(pitches)}
        kept = tuple(by_midi[midi] for midi in sorted(by_midi))
        self.voice.place(kept, first * outer, tuple(notes[pitch][1] for pitch in kept), chord)

    def _field(self, letter: str, value: str) -> None:
        voice = self.voice
        _check_field(letter, value)
        if letter == "K":
            for concerned in self._concerned():
                concerned.sounding(value)
            key = parse_key(value)
            if key is not None:
                self._change(key=key)
                voice.accidentals.clear()
        elif letter == "M":
            self._change(meter=parse_meter(value))
        elif letter == "L":
            self._change(unit=parse_unit(value))
        elif letter == "Q":
            tempo = parse_tempo(value, voice.unit)
            if self._begun:
                voice.tempo = tempo
            else:
                self.tempo = tempo or self.tempo
        elif letter == "V":
            self._enter(value)
        elif letter == "P":
            label = re.fullmatch(r"([A-Za-z])\s*\.?", value)  # anything else is words, which begin no part
            voice.items.append(Mark(part=label[1] if label else "", double=True))

    @property
    def _begun(self) -> bool:
        """Whether any voice has a note or a rest."""
        return any(voice.begun for voice in self.voices.values())

    def _concerned(self) -> list[Voice]:
        """The current voice; all voices while no note has been written yet."""
        return [self.voice] if self._begun else [self.first, *self.voices.values()]

    def _change(self, **values: Key | Meter | Fraction) -> None:
        for voice in self._concerned():
            for name, value in values.items():
                setattr(voice, name, value)


def _check_field(letter: str, value: str) -> None:
    if letter in "KLMPQV" and len(value) > LONGEST_FIELD:
        raise ValueError(
            f"the field {letter}:{value[:12]}... has {len(value)} characters; expected at most {LONGEST_FIELD}"
        )
