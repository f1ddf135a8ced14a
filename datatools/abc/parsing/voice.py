"""One voice as it is read: what it remembers from symbol to symbol, and the items that come of it.

Accidentals last to the end of the bar, for their letter in every octave unless the tune says otherwise, and over a tie
to the note that it leads to; broken rhythm, tuplets, grace notes and ties follow the ABC standard 2.1, section 4.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from datatools.abc.keys import ACCIDENTALS, LETTERS, Key, Meter, fifths_of, parse_sounding, transposed
from datatools.abc.lexer import NOT, PITCH, STEP
from datatools.abc.lyrics import aligned, syllables
from datatools.abc.parsing.lengths import insist_length, length
from datatools.abc.parsing.marks import Mark
from datatools.abc.symbols import shifted
from datatools.abc.tune import Event, Pitch, Tuplet, spelled

MOST_VERSES = 20  # nothing is played more often
_DEFAULT_Q = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_BROKEN = {1: Fraction(3, 2), 2: Fraction(7, 4), 3: Fraction(15, 8)}

Item = Event | Mark


@dataclass
class Voice:
    """A voice at the symbol that is being read."""

    key: Key
    meter: Meter
    unit: Fraction
    octave: int = 0
    clef: int = 0  # octaves by which its 8 shifts what is written
    semitones: int = 0  # from what is written to what sounds, octaves aside
    items: list[Item] = field(default_factory=list)
    accidentals: dict[int, int] = field(default_factory=dict)  # by letter or step, as far as they reach
    heard: dict[Pitch, tuple[int, int]] = field(default_factory=dict)  # step and alteration in the event being read
    written: dict[Pitch, tuple[int, int]] = field(default_factory=dict)  # the same of the last event
    tied: dict[int, int] = field(default_factory=dict)  # alterations that a tie has brought over the bar line, by step
    graces: list[Pitch] = field(default_factory=list)
    tempo: float | None = None
    last: Event | None = None  # what a tie or a broken rhythm refers back to
    begun: bool = False
    layer: int = 0
    bar: int = 0  # how many bars with something in them have ended
    barred: bool = False
    unsung: list[tuple[Event, int]] = field(default_factory=list)  # notes that lyrics may still come to, and their bars
    uneven: tuple[Fraction, Fraction] | None = None  # factors of the last and of the next note, in broken rhythm
    tuplet: Tuplet | None = None
    tuplet_left: int = 0
    stretch: int = 1  # of notes that a tuplet of one lengthens
    stretch_left: int = 0

    def fresh(self) -> "Voice":
        """A voice that begins as this one does, with nothing in it."""
        return Voice(self.key, self.meter, self.unit, self.octave, self.clef, self.semitones)

    def sounding(self, value: str) -> None:
        """Takes over what a field says of sounding pitch."""
        clef, octave, semitones = parse_sounding(value)
        self.clef = self.clef if clef is None else clef
        self.octave = self.octave if octave is None else octave
        self.semitones = self.semitones if semitones is None else semitones

    # Bars.

    def end_bar(self, mark: Mark, propagate: str) -> None:
        """Forgets accidentals, but for those of notes that a tie leads over the bar line."""
        self.items.append(mark)
        self.accidentals.clear()
        self.layer, self.barred = 0, True
        if self.last is not None and propagate != STEP:
            ties = zip(self.last.pitches, self.last.ties, strict=False)
            self.tied = dict(self.written[pitch] for pitch, tie in ties if tie and pitch in self.written)

    def overlay(self, line: int) -> None:
        """Goes back to the bar's beginning, for a further layer of it."""
        self.layer += 1
        self.items.append(Mark(layer=self.layer, line=line))
        self.accidentals.clear()
        self.last, self.tuplet_left, self.stretch_left = None, 0, 0

    # Notes.

    def pitch(self, parts: tuple[str, ...], propagate: str) -> Pitch:
        """The sounding pitch of a note's accidental, letter and octave marks; how far accidentals reach is told."""
        sign, letter, marks = parts[:3]
        index = LETTERS.index(letter.upper())
        written = (4 + letter.islower() + marks.count("'") - marks.count(",")) * 7 + index
        reach = index if propagate == PITCH else written
        if sign and propagate != NOT:
            self.accidentals[reach] = ACCIDENTALS[sign]
        if sign:
            alter = ACCIDENTALS[sign]
        elif written in self.tied and reach not in self.accidentals:
            alter = self.tied[written]
        else:
            alter = self.accidentals.get(reach, self.key.alters[index])
        pitch = higher(spelled(written + 7 * (self.octave + self.clef), alter), self.semitones)
        if not 0 <= pitch.midi <= 127:
            raise ValueError(f"the note {sign}{letter}{marks[:8]} lies outside MIDI's range")
        self.heard[pitch] = (written, alter)
        return pitch

    def place(self, pitches: tuple[Pitch, ...], ratio: Fraction, ties: tuple[bool, ...], chord: str = "") -> None:
        """Adds an event of `ratio` unit lengths, under a chord symbol if there is one."""
        whole_notes = ratio * self.unit
        if self.stretch_left:
            whole_notes *= self.stretch
            self.stretch_left -= 1
        insist_length(whole_notes)
        # Grace notes wait for the next note, over rests and bar lines.
        graces = tuple(self.graces) if pitches else ()
        key = transposed(self.key, self.semitones) if self.semitones else self.key
        event = Event(pitches, whole_notes, key, self.meter, ties, graces, None, self.tempo)
        event.symbol = shifted(chord, _steps(self.semitones), self.semitones) if chord and self.semitones else chord
        self.graces, self.tempo = ([] if pitches else self.graces), None
        if self.tuplet_left:
            event.tuplet = self.tuplet
            self.tuplet_left -= 1
        self.items.append(event)
        self.bar, self.barred = self.bar + self.barred, False
        if pitches:
            self.unsung.append((event, self.bar))
        if self.uneven is not None and self.last is not None:
            # Between notes of unequal length the standard leaves it undefined; the bar keeps its length unchanged.
            if self.last.duration == event.duration:
                self.last.length *= self.uneven[0]
                event.length *= self.uneven[1]
                insist_length(self.last.length)
                insist_length(event.length)
            self.uneven = None
        self.last, self.begun = event, True
        self.written, self.heard, self.tied = self.heard, {}, {}

    def rest(self, parts: tuple[str, ...], chord: str) -> None:
        """A rest, or `Z`, one of whole bars."""
        if parts[0] in "zx":
            self.place((), length(parts[1]), (), chord)
            return
        bars = length(parts[1])
        if bars.denominator != 1 or not 1 <= bars <= 1000:
            raise ValueError(f"{parts[0]}{parts[1][:12]}: expected a rest of 1 to 1000 bars")
        whole = Fraction(*self.meter) if self.meter else Fraction(1)
        for bar in range(int(bars)):
            if bar:
                self.items.append(Mark())
            self.place((), whole / self.unit, (), "" if bar else chord)

    def tie(self) -> None:
        """Ties the last event's notes to the next."""
        if self.last is not None and self.last.pitches:
            self.last.ties = (True,) * len(self.last.pitches)

    def broken(self, signs: str) -> None:
        """Broken rhythm, `>` or `<<`, between the last note and the next."""
        factor = _BROKEN.get(len(signs))
        if factor is None or self.last is None:
            raise ValueError(f"broken rhythm {signs[:8]} with no note before it or of more than three signs")
        self.uneven = (factor, 2 - factor) if signs[0] == ">" else (2 - factor, factor)

    def begin_tuplet(self, parts: tuple[str, ...], number: int) -> None:
        """`(p:q:r`, p notes in the time of q for the next r; `number` tells it from other tuplets."""
        p = int(parts[0])
        if p == 1 and not parts[1]:
            return  # `(1` is a slur before a fingering in old collections
        compound = self.meter is not None and self.meter[0] % 3 == 0 and self.meter[0] > 3
        q = int(parts[1][:3] or 0) or _DEFAULT_Q.get(p, 3 if compound else 2)
        r = int(parts[2][:3] or 0) or p
        if not (1 <= p <= 9 and 1 <= q <= 16 and 1 <= r <= 32):
            raise ValueError(f"the tuplet ({':'.join(parts)[:16]} is none; expected (p:q:r with p from 1 to 9")
        if p == q:
            return  # it changes no length
        if p == 1:
            self.stretch, self.stretch_left = q, r  # no tuplet that a score could show
            return
        self.tuplet, self.tuplet_left = Tuplet(p, q, number), r

    def sing(self, verses: list[list[str]]) -> int:
        """Gives lyrics to the notes since the last ones (ABC 2.1, 5.1), verses beginning at the same note; how many
        syllables found none."""
        notes, self.unsung = self.unsung, []
        bars = [bar for _, bar in notes]
        found = [aligned(syllables(" ".join(lines)), bars) for lines in verses[:MOST_VERSES]]
        for (event, _), said in zip(notes, zip(*(sung for sung, _ in found), strict=True), strict=True):
            event.verses = said
        return sum(left for _, left in found)


def higher(pitch: Pitch, semitones: int) -> Pitch:
    """The pitch so many semitones higher, spelled as its key is."""
    if not semitones:
        return pitch
    steps = _steps(semitones)
    midi = pitch.midi + semitones
    return spelled(pitch.step + steps, midi - Pitch(pitch.step + steps, 0).midi)


def _steps(semitones: int) -> int:
    """The letters that a key moves by with so many semitones."""
    letters = 4 * fifths_of(semitones)  # a fifth is four letters
    return letters + 7 * round((semitones * 7 / 12 - letters) / 7)
