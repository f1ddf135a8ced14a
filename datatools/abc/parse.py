"""From a tune's symbols to items voice by voice: pitches resolved, lengths exact, repeats still as written.

An item is an Event or a Mark (bar line, repeat, ending number, part label). Accidentals last to the end of the bar,
for their letter in every octave unless the tune says otherwise, and over a tie to the note that it leads to; broken
rhythm, chords, tuplets, grace notes and ties follow the ABC standard 2.1, section 4.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

from datatools.abc.keys import (
    ACCIDENTALS,
    LETTERS,
    Key,
    Meter,
    default_unit,
    fifths_of,
    parse_key,
    parse_meter,
    parse_sounding,
    parse_tempo,
    parse_unit,
    transposed,
)
from datatools.abc.lexer import MORE, NOT, PITCH, STEP, VERSE, Source, Symbol
from datatools.abc.lyrics import aligned, syllables
from datatools.abc.symbols import shifted
from datatools.abc.tune import Event, Pitch, Tuplet, spelled

LONGEST_NOTE = 64  # whole notes
MOST_VERSES = 20  # nothing is played more often
LONGEST_FIELD = 1_000  # characters; the patterns that read fields take the square of their length
_DEFAULT_Q = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_BROKEN = {1: Fraction(3, 2), 2: Fraction(7, 4), 3: Fraction(15, 8)}


@dataclass(slots=True)
class Mark:
    """A bar line or part label: `again` further playings end here, `left` opens a repeat, `double` ends a section.

    `layer` above 0 is no bar line: what follows goes back to the bar's beginning (`&`).
    """

    again: int = 0
    left: bool = False
    double: bool = False
    endings: tuple[int, ...] = ()
    part: str = ""
    line: int = 0
    layer: int = 0


Item = Event | Mark


@dataclass
class _State:
    """What a voice remembers from one symbol to the next."""

    key: Key
    meter: Meter
    unit: Fraction
    octave: int = 0
    clef: int = 0  # octaves by which its 8 shifts what is written
    semitones: int = 0  # from what is written to what sounds, octaves aside
    items: list[Item] = field(default_factory=list)
    accidentals: dict[int, int] = field(default_factory=dict)  # by letter or step, as far as they reach
    written: dict[Pitch, tuple[int, int]] = field(default_factory=dict)  # step and alteration of the last event's notes
    tied: dict[int, int] = field(default_factory=dict)  # alterations that a tie has brought over the bar line, by step
    graces: list[Pitch] = field(default_factory=list)
    tempo: float | None = None
    last: Event | None = None  # what a tie or a broken rhythm refers back to
    begun: bool = False
    layer: int = 0
    bar: int = 0  # how many bars with something in them have ended
    barred: bool = False
    unsung: list[tuple[Event, int]] = field(default_factory=list)  # notes that lyrics may still come to, and their bars
    broken: tuple[Fraction, Fraction] | None = None  # factors of the last and of the next note
    tuplet: Tuplet | None = None
    tuplet_left: int = 0
    stretch: int = 1  # of notes that a tuplet of one lengthens
    stretch_left: int = 0

    @property
    def sounding_key(self) -> Key:
        return transposed(self.key, self.semitones) if self.semitones else self.key


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
        self.voices: dict[str, _State] = {}
        self.names: dict[str, str] = {}
        self.serial = 0
        self.tempo: float | None = None  # of the header, or of a field before the first note
        self.heard: dict[Pitch, tuple[int, int]] = {}  # as `written`, of the event that is being read
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
        self.first = _State(key, meter, unit)
        _sound(self.first, sounding)
        for value in declared:
            self._enter(value)
        self.state = next(iter(self.voices.values())) if self.voices else self._enter("1")
        self._symbols()
        voices = {name: state.items for name, state in self.voices.items() if state.begun}
        left_out = sum(len(state.graces) for state in self.voices.values())
        return Parsed(title, meter, unit, key, self.tempo, order, voices, self.names, left_out, self.unaligned)

    def _enter(self, value: str) -> _State:
        """The state of the voice that a V: field names, made when new."""
        name = (value.split() or ["1"])[0]
        if name not in self.voices:
            if len(self.voices) >= 64:
                raise ValueError("more than 64 voices")
            self.voices[name] = replace(self.first, items=[], accidentals={}, written={}, tied={}, graces=[], unsung=[])
        self.state = self.voices[name]
        _sound(self.state, value.partition(" ")[2])
        label = re.search(r'(?:name|nm)=\s*"([^"]*)"', value)
        self.names[name] = label[1] if label else self.names.get(name, "")
        return self.state

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
        """Gives lyrics to the notes since the last ones (ABC 2.1, 5.1); verses begin at the same note."""
        if not verses:
            return
        notes, self.state.unsung = self.state.unsung, []
        bars = [bar for _, bar in notes]
        sung = []
        for lines in verses[:MOST_VERSES]:
            found, left = aligned(syllables(" ".join(lines)), bars)
            sung.append(found)
            self.unaligned += left
        for (event, _), said in zip(notes, zip(*sung, strict=True), strict=True):
            event.verses = said

    def _symbol(self, symbol: Symbol, stream: Iterator[Symbol]) -> None:
        state, kind, parts = self.state, symbol.kind, symbol.parts
        if kind == "note":
            self._place((self._pitch(parts),), _length(parts[3]), (False,), symbol.chord)
        elif kind == "bar":
            state.items.append(_bar(parts[0], symbol.line))
            self._begin_bar()
        elif kind == "rest":
            self._rest(parts, symbol.chord)
        elif kind == "tie":
            if state.last is not None and state.last.pitches:
                state.last.ties = (True,) * len(state.last.pitches)
        elif kind == "broken":
            self._broken(parts[0])
        elif kind == "tuplet":
            self._tuplet(parts)
        elif kind == "grace":
            state.graces += self._graces(stream)
        elif kind == "open":
            self._chord(stream, "close", symbol.chord)
        elif kind == "plus":
            self._chord(stream, "plus", symbol.chord)
        elif kind == "overlay":
            state.layer += 1
            state.items.append(Mark(layer=state.layer, line=symbol.line))
            state.accidentals.clear()
            state.last, state.tuplet_left, state.stretch_left = None, 0, 0
        elif kind == "ending":
            state.items.append(Mark(endings=_numbers(parts[0]), line=symbol.line))
        elif kind == "field":
            self._field(parts[0], parts[1].strip())
        elif kind == "close":
            pass  # the bracket of `:|]` and of chords around a whole bar line; it carries nothing
        else:
            raise ValueError("a } that closes no grace notes")

    def _begin_bar(self) -> None:
        """Forgets accidentals, but for those of notes that a tie leads over the bar line."""
        state = self.state
        state.accidentals.clear()
        state.layer, state.barred = 0, True
        last = state.last
        if last is not None and self.source.propagate != STEP:
            ties = zip(last.pitches, last.ties, strict=False)
            state.tied = dict(state.written[pitch] for pitch, tie in ties if tie and pitch in state.written)

    def _pitch(self, parts: tuple[str, ...]) -> Pitch:
        state = self.state
        sign, letter, marks = parts[:3]
        index = LETTERS.index(letter.upper())
        written = (4 + letter.islower() + marks.count("'") - marks.count(",")) * 7 + index
        reach = index if self.source.propagate == PITCH else written
        if sign and self.source.propagate != NOT:
            state.accidentals[reach] = ACCIDENTALS[sign]
        if sign:
            alter = ACCIDENTALS[sign]
        elif written in state.tied and reach not in state.accidentals:
            alter = state.tied[written]
        else:
            alter = state.accidentals.get(reach, state.key.alters[index])
        pitch = _shifted(spelled(written + 7 * (state.octave + state.clef), alter), state.semitones)
        if not 0 <= pitch.midi <= 127:
            raise ValueError(f"the note {sign}{letter}{marks[:8]} lies outside MIDI's range")
        self.heard[pitch] = (written, alter)
        return pitch

    def _place(self, pitches: tuple[Pitch, ...], ratio: Fraction, ties: tuple[bool, ...], chord: str = "") -> None:
        """Adds an event of `ratio` unit lengths, under a chord symbol if there is one."""
        state = self.state
        length = ratio * state.unit
        if state.stretch_left:
            length *= state.stretch
            state.stretch_left -= 1
        if length > LONGEST_NOTE or length <= 0 or length.denominator > 1 << 16:
            raise ValueError(
                f"a note or rest of {_short(length)} whole notes; expected above 0 and at most {LONGEST_NOTE}"
            )
        # Grace notes wait for the next note, over rests and bar lines.
        graces = tuple(state.graces) if pitches else ()
        event = Event(pitches, length, state.sounding_key, state.meter, ties, graces, None, state.tempo)
        event.symbol = _sounding_symbol(chord, state.semitones)
        state.graces, state.tempo = ([] if pitches else state.graces), None
        if state.tuplet_left:
            event.tuplet = state.tuplet
            state.tuplet_left -= 1
        state.items.append(event)
        state.bar, state.barred = state.bar + state.barred, False
        if pitches:
            state.unsung.append((event, state.bar))
        if state.broken is not None and state.last is not None:
            # Between notes of unequal length the standard leaves it undefined; the bar keeps its length unchanged.
            if state.last.duration == event.duration:
                state.last.length *= state.broken[0]
                event.length *= state.broken[1]
            state.broken = None
        state.last, state.begun = event, True
        state.written, self.heard, state.tied = self.heard, {}, {}

    def _rest(self, parts: tuple[str, ...], chord: str) -> None:
        state = self.state
        if parts[0] in "zx":
            self._place((), _length(parts[1]), (), chord)
            return
        bars = _length(parts[1])
        if bars.denominator != 1 or not 1 <= bars <= 1000:
            raise ValueError(f"{parts[0]}{parts[1][:12]}: expected a rest of 1 to 1000 bars")
        whole = Fraction(*state.meter) if state.meter else Fraction(1)
        for bar in range(int(bars)):
            if bar:
                state.items.append(Mark())
            self._place((), whole / state.unit, (), "" if bar else chord)

    def _broken(self, signs: str) -> None:
        factor = _BROKEN.get(len(signs))
        if factor is None or self.state.last is None:
            raise ValueError(f"broken rhythm {signs[:8]} with no note before it or of more than three signs")
        self.state.broken = (factor, 2 - factor) if signs[0] == ">" else (2 - factor, factor)

    def _tuplet(self, parts: tuple[str, ...]) -> None:
        p = int(parts[0])
        if p == 1 and not parts[1]:
            return  # `(1` is a slur before a fingering in old collections
        meter = self.state.meter
        compound = meter is not None and meter[0] % 3 == 0 and meter[0] > 3
        q = int(parts[1][:3] or 0) or _DEFAULT_Q.get(p, 3 if compound else 2)
        r = int(parts[2][:3] or 0) or p
        if not (1 <= p <= 9 and 1 <= q <= 16 and 1 <= r <= 32):
            raise ValueError(f"the tuplet ({':'.join(parts)[:16]} is none; expected (p:q:r with p from 1 to 9")
        if p == q:
            return  # it changes no length
        if p == 1:
            self.state.stretch, self.state.stretch_left = q, r  # no tuplet that a score could show
            return
        self.serial += 1
        self.state.tuplet, self.state.tuplet_left = Tuplet(p, q, self.serial), r

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
                outer = _length(symbol.parts[0])
                break
            if symbol.kind == "note":
                last, length = self._pitch(symbol.parts), _length(symbol.parts[3])
                first = first or length
                notes.setdefault(last, (length, False))
                chord = chord or symbol.chord
            elif symbol.kind == "tie" and last is not None:
                notes[last] = (notes[last][0], True)
            elif symbol.kind in ("bar", "field", "open"):
                raise ValueError("a chord without its closing bracket")
        else:
            raise ValueError("a chord without its closing bracket")
        if first is None:
            return
        if any(length != first for length, _ in notes.values()):
            raise ValueError("a chord of notes of different lengths cannot be told in one voice")
        pitches = sorted(notes, key=lambda pitch: (pitch.midi, pitch.step))
        by_midi = {pitch.midi: pitch for pitch in reversed(pitches)}
        kept = tuple(by_midi[midi] for midi in sorted(by_midi))
        self._place(kept, first * outer, tuple(notes[pitch][1] for pitch in kept), chord)

    def _field(self, letter: str, value: str) -> None:
        state = self.state
        _check_field(letter, value)
        if letter == "K":
            for voice in self._concerned():
                _sound(voice, value)
            key = parse_key(value)
            if key is not None:
                self._change(key=key)
                state.accidentals.clear()
        elif letter == "M":
            self._change(meter=parse_meter(value))
        elif letter == "L":
            self._change(unit=parse_unit(value))
        elif letter == "Q":
            tempo = parse_tempo(value, state.unit)
            if self._begun:
                state.tempo = tempo
            else:
                self.tempo = tempo or self.tempo
        elif letter == "V":
            self._enter(value)
        elif letter == "P":
            label = re.fullmatch(r"([A-Za-z])\s*\.?", value)  # anything else is words, which begin no part
            state.items.append(Mark(part=label[1] if label else "", double=True))

    @property
    def _begun(self) -> bool:
        """Whether any voice has a note or a rest."""
        return any(state.begun for state in self.voices.values())

    def _concerned(self) -> list[_State]:
        """The current voice; all voices while no note has been written yet."""
        return [self.state] if self._begun else [self.first, *self.voices.values()]

    def _change(self, **values: Key | Meter | Fraction) -> None:
        for voice in self._concerned():
            for name, value in values.items():
                setattr(voice, name, value)


def _sound(state: _State, value: str) -> None:
    """Takes over what a field says of sounding pitch."""
    clef, octave, semitones = parse_sounding(value)
    state.clef = state.clef if clef is None else clef
    state.octave = state.octave if octave is None else octave
    state.semitones = state.semitones if semitones is None else semitones


def _steps(semitones: int) -> int:
    """The letters that a key moves by with so many semitones."""
    letters = 4 * fifths_of(semitones)  # a fifth is four letters
    return letters + 7 * round((semitones * 7 / 12 - letters) / 7)


def _sounding_symbol(symbol: str, semitones: int) -> str:
    return shifted(symbol, _steps(semitones), semitones) if symbol and semitones else symbol


def _shifted(pitch: Pitch, semitones: int) -> Pitch:
    """The pitch so many semitones higher, spelled as its key is."""
    if not semitones:
        return pitch
    steps = _steps(semitones)
    midi = pitch.midi + semitones
    return spelled(pitch.step + steps, midi - Pitch(pitch.step + steps, 0).midi)


def _check_field(letter: str, value: str) -> None:
    if letter in "KLMPQV" and len(value) > LONGEST_FIELD:
        raise ValueError(
            f"the field {letter}:{value[:12]}... has {len(value)} characters; expected at most {LONGEST_FIELD}"
        )


@lru_cache(maxsize=1024)
def _length(text: str) -> Fraction:
    """`3/2`, `2`, `/`, `//`, `/4` as a multiple of the unit length."""
    if not text:
        return Fraction(1)
    if len(text) > 12:
        raise ValueError(f"the length {text[:12]}... is none")
    number, _, rest = text.partition("/")
    slashes = len(text) - len(text.replace("/", ""))
    below = rest.strip("/")
    divisor = int(below) * 2 ** (slashes - 1) if below else 2**slashes
    if divisor == 0 or divisor > 1 << 16 or int(number or 1) == 0:
        raise ValueError(f"the length {text} is none")
    return Fraction(int(number or 1), divisor)


def _bar(text: str, line: int) -> Mark:
    """The mark of a bar line such as `|:`, `:|`, `::`, `||`, `|]`; an invisible one, `[|]`, adds nothing to others."""
    if text == ":":
        raise ValueError("a lone : is no bar line")
    shown = text.replace("[|]", "")
    text = shown if "|" in shown else re.sub(r"(?:\[\|\])+", "|", text)
    bare = text.replace("[", "").replace("]", "")
    left = len(bare) - len(bare.rstrip(":"))
    right = len(bare) - len(bare.lstrip(":"))
    if not bare.strip(":"):
        right, left = max(1, len(bare) - 1), 1
    double = "||" in text or "[" in text or "]" in text
    if right > 9:
        raise ValueError(f"the bar line {text[:12]} asks for {right + 1} playings; expected at most 10")
    return Mark(again=right, left=left > 0, double=double, line=line)


def _numbers(text: str) -> tuple[int, ...]:
    """`1`, `1,3`, `1-3`, `1.` as ending numbers."""
    numbers: list[int] = []
    for part in re.split(r"[,.]", text):
        ends = [int(end) for end in part.split("-") if end and len(end) <= 2]
        if ends:
            numbers += range(ends[0], ends[-1] + 1)
    if not numbers or not all(1 <= number <= 20 for number in numbers):
        raise ValueError(f"the ending {text[:12]} is none; expected numbers from 1 to 20")
    return tuple(numbers)


def _short(length: Fraction) -> str:
    text = str(length)
    return text if len(text) <= 16 else f"about {float(length):.3g}"
