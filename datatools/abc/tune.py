"""A tune with nothing left to interpret: voices of bars of events, pitches and lengths exact.

Units: lengths are Fractions of a whole note; a pitch is a diatonic step (0 = the C below the lowest piano A, 7 steps an
octave) and an alteration in semitones.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from datatools.abc.keys import Key, Meter

_SEMITONES = (0, 2, 4, 5, 7, 9, 11)


class Pitch(NamedTuple):
    """A spelled pitch; `step` counts letters from C,,,, (MIDI 12), `alter` is -1, 0 or 1."""

    step: int
    alter: int

    @property
    def midi(self) -> int:
        octave, letter = divmod(self.step, 7)
        return 12 + 12 * octave + _SEMITONES[letter] + self.alter


@lru_cache(maxsize=1024)
def spelled(step: int, alter: int) -> Pitch:
    """The pitch with at most one sharp or flat: double accidentals become their neighbor."""
    while abs(alter) > 1:
        midi = Pitch(step, alter).midi
        step += 1 if alter > 0 else -1
        alter = midi - Pitch(step, 0).midi
    return Pitch(step, alter)


class Tuplet(NamedTuple):
    """`p` notes in the time of `q`; `serial` tells one group from the next."""

    p: int
    q: int
    serial: int


@dataclass(slots=True)
class Event:
    """A note, a chord (several pitches) or a rest (none), of `length` as written, before the tuplet's factor.

    `verses` has what is sung to it at each playing, as ABC spells it (lyrics.py); nothing where no words are known.
    """

    pitches: tuple[Pitch, ...]
    length: Fraction
    key: Key
    meter: Meter
    ties: tuple[bool, ...] = ()
    graces: tuple[Pitch, ...] = ()
    tuplet: Tuplet | None = None
    tempo: float | None = None
    symbol: str = ""  # the chord over it, such as Am7/G
    verses: tuple[str, ...] = ()

    @property
    def syllable(self) -> str:
        """What is sung to it; "" for nothing."""
        return self.verses[0] if self.verses else ""

    @property
    def duration(self) -> Fraction:
        """The time it takes, in whole notes."""
        return self.length * self.tuplet.q / self.tuplet.p if self.tuplet else self.length


@dataclass(slots=True)
class Bar:
    """What stands between two bar lines."""

    events: list[Event]
    meter: Meter

    @property
    def duration(self) -> Fraction:
        return sum((event.duration for event in self.events), Fraction(0))


@dataclass(slots=True)
class Tune:
    """Voices in the order of their first note; `unit` is the L: field, `key` and `meter` those of the header.

    `tracks` has, for each voice of a tune made from a score, the number of its track among those with notes.
    """

    title: str
    meter: Meter
    unit: Fraction
    key: Key
    tempo: float | None
    voices: list[list[Bar]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
