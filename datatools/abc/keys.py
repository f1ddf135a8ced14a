"""The values of ABC's K:, M:, L: and Q: fields.

Source: the ABC music standard 2.1, sections 3.1.6 to 3.1.8 and 3.1.14.
"""

import re
from fractions import Fraction
from typing import NamedTuple

LETTERS = "CDEFGAB"
MODES = ("maj", "min", "dor", "mix", "phr", "lyd", "loc")
_MODE_FIFTHS = {
    "maj": 0,
    "ion": 0,
    "min": -3,
    "aeo": -3,
    "m": -3,
    "dor": -2,
    "mix": -1,
    "phr": -4,
    "lyd": 1,
    "loc": -5,
    "": 0,
}
_MODE_NAMES = {"ion": "maj", "aeo": "min", "m": "min", "": "maj"}
_TONIC_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
_KEY_ACCIDENTAL = re.compile(r"(\^\^|__|\^|_|=)([A-Ga-g])")
_KEY_ACCIDENTALS = re.compile(r"(?<!\S)(?:(?:\^\^|__|\^|_|=)[A-Ga-g])+(?!\S)")
_CLEFS = "treble|bass|alto|tenor|soprano|mezzosoprano|baritone|perc|none"
_CLEF = re.compile(rf"""(?:\bclef\s*=\s*"?[A-Za-z]*|(?<!\S)(?:{_CLEFS}))\d?([+^_-](?:8|15))?"?(?!\S)""")
_OCTAVE = re.compile(r"\boctave\s*=\s*([+-]?\d)")
_TRANSPOSE = re.compile(r"\btranspose\s*=\s*([+-]?\d{1,2})")
_METER = re.compile(r"\(?\s*(\d+(?:\s*\+\s*\d+)*)\s*\)?\s*/\s*(\d+)")
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}


class Key(NamedTuple):
    """A plain signature to print (`name`, `fifths`: sharps, flats negative) and the alteration of each letter C to B.

    `alters` differs from the plain signature's only where the source names accidentals of its own (`K:D =c`).
    """

    name: str
    fifths: int
    alters: tuple[int, ...]

    @property
    def minor(self) -> bool:
        return self.name.endswith("min")


def signature(fifths: int) -> tuple[int, ...]:
    """The alteration of each letter C to B under so many sharps (flats negative)."""
    alters = [0] * 7
    for letter in "FCGDAEB"[: max(fifths, 0)]:
        alters[LETTERS.index(letter)] = 1
    for letter in "BEADGCF"[: max(-fifths, 0)]:
        alters[LETTERS.index(letter)] = -1
    return tuple(alters)


def key_names() -> list[str]:
    """Every tonic and mode whose signature has at most seven sharps or flats, 105 of them."""
    return [name for mode in MODES for fifths in range(-7, 8) for name in [_named(fifths, mode)]]


def _named(fifths: int, mode: str) -> str:
    """The tonic that has this signature in this mode, e.g. (1, "dor") -> "Ador"."""
    tonic = fifths - _MODE_FIFTHS[mode]  # fifths of the tonic's major key, -8 to 12
    letter = "FCGDAEB"[(tonic + 1) % 7]
    accidental = (tonic + 1) // 7
    return letter + ("#" * accidental if accidental > 0 else "b" * -accidental) + mode


_KEYS = {
    _named(fifths, mode): Key(_named(fifths, mode), fifths, signature(fifths))
    for mode in MODES
    for fifths in range(-7, 8)
}


def plain_key(fifths: int, mode: str = "maj") -> Key:
    """The key of a signature and a mode of `MODES`."""
    return _KEYS[_named(fifths, mode)]


def parse_key(value: str) -> Key | None:
    """The key of a K: field; None when the field only sets a clef or the like. ValueError when it says no key."""
    value = value.strip()
    if not value:
        return _KEYS["Cmaj"]
    if re.match(r"none\b", value, re.IGNORECASE):
        return _with_accidentals(_KEYS["Cmaj"], _accidentals(value))
    if value.startswith(("HP", "Hp")):
        return _KEYS["Amix"]  # the scale of Highland pipes, whether its sharps are printed (Hp) or not (HP)
    match = _KEY.match(value)
    if match is None:
        if re.match(r"(clef|middle|octave|transpose|stafflines|style|treble|bass|alto|tenor|perc|[\^_=])", value):
            explicit = _accidentals(value)
            return _with_accidentals(_KEYS["Cmaj"], explicit) if explicit else None
        raise ValueError(f"K:{value} is no key; expected a tonic A to G and a mode, e.g. K:Gmaj, K:Ador")
    mode = match[3].lower()
    mode = "m" if mode == "m" else mode[:3]
    rest = value[match.end() :]
    if mode in ("exp",):
        return _with_accidentals(_KEYS["Cmaj"], _accidentals(rest))
    if mode not in _MODE_FIFTHS:
        if re.match(r"(clef|middle|octave|transpose|style|treble|bass|alto|tenor|perc)", match[3]):
            mode = ""
        else:
            raise ValueError(f'K:{value}: there is no mode "{match[3]}"; expected maj, min, dor, mix, phr, lyd or loc')
    tonic = _TONIC_FIFTHS[match[1]] + 7 * ((match[2] == "#") - (match[2] == "b"))
    fifths = tonic + _MODE_FIFTHS[mode]
    if not -7 <= fifths <= 7:
        raise ValueError(f"K:{value} has {abs(fifths)} sharps or flats; expected at most 7")
    key = _KEYS[_named(fifths, _MODE_NAMES.get(mode, mode))]
    explicit = _accidentals(rest)
    return _with_accidentals(key, explicit) if explicit else key


def _accidentals(text: str) -> list[tuple[str, str]]:
    """(sign, letter) of each accidental that a key names, whether apart (`^f ^c`) or joined (`^f^c`)."""
    return [found for word in _KEY_ACCIDENTALS.findall(text) for found in _KEY_ACCIDENTAL.findall(word)]


class Sounding(NamedTuple):
    """How what is written sounds: octaves by the clef's 8 and by `octave=`, semitones by `transpose=`; None: untold."""

    clef: int | None
    octave: int | None
    semitones: int | None


def parse_sounding(value: str) -> Sounding:
    """What a K: or V: field says of sounding pitch (ABC 2.1, section 4.6)."""
    clef, octave, transpose = _CLEF.search(value), _OCTAVE.search(value), _TRANSPOSE.search(value)
    mark = clef[1] if clef else None
    shift = (2 if mark[1:] == "15" else 1) * (1 if mark[0] in "+^" else -1) if mark else 0
    return Sounding(
        shift if clef else None, int(octave[1]) if octave else None, int(transpose[1]) if transpose else None
    )


def transposed(key: Key, semitones: int) -> Key:
    """The key that sounds so many semitones higher, with as few sharps or flats as it can."""
    fifths = key.fifths + fifths_of(semitones)
    fifths -= 12 * ((fifths > 7) - (fifths < -7))
    return plain_key(fifths, key.name[-3:])


def fifths_of(semitones: int) -> int:
    """Sharps that a transposition adds, -6 to 5."""
    return (7 * semitones + 6) % 12 - 6


def _with_accidentals(key: Key, accidentals: list[tuple[str, str]]) -> Key:
    alters = list(key.alters)
    for sign, letter in accidentals:
        alters[LETTERS.index(letter.upper())] = ACCIDENTALS[sign]
    for other in _KEYS.values():  # the same tonic in another mode, where that says it all
        if list(other.alters) == alters and other.name[:-3] == key.name[:-3]:
            return other
    return Key(key.name, key.fifths, tuple(alters))


Meter = tuple[int, int] | None


def parse_meter(value: str) -> Meter:
    """Beats and beat unit of an M: field, None for free meter. ValueError when it says no meter."""
    value = value.strip().strip('"').strip()
    if value in ("C|", "c|"):
        return (2, 2)
    if value in ("C", "c"):
        return (4, 4)
    if value.lower() in ("none", ""):
        return None
    match = _METER.match(value)
    if match is None:
        raise ValueError(f"M:{value} is no meter; expected e.g. M:6/8, M:C, M:C| or M:none")
    beats = sum(int(part) for part in match[1].split("+") if len(part.strip()) <= 3)
    unit = int(match[2]) if len(match[2]) <= 3 else 0
    if not 1 <= beats <= 64 or unit not in (1, 2, 4, 8, 16, 32, 64):
        raise ValueError(f"M:{value}: expected 1 to 64 beats of a 1, 2, 4, 8, 16, 32 or 64th note")
    return beats, unit


def parse_unit(value: str) -> Fraction:
    """The unit length of an L: field, in whole notes."""
    match = re.match(r"\s*(\d{1,3})(?:\s*/\s*(\d{1,3}))?", value)
    unit = Fraction(int(match[1]), int(match[2] or 1)) if match and int(match[2] or 1) else Fraction(0)
    if not Fraction(1, 512) <= unit <= 4:
        raise ValueError(f"L:{value.strip()} is no unit length; expected e.g. L:1/8")
    return unit


def default_unit(meter: Meter) -> Fraction:
    """The unit length when there is no L: field: a sixteenth below three quarters of a whole note, else an eighth."""
    return Fraction(1, 16) if meter and Fraction(*meter) < Fraction(3, 4) else Fraction(1, 8)


def parse_tempo(value: str, unit: Fraction) -> float | None:
    """Quarter notes per minute of a Q: field, in thousandths as in canonical text; None when it only has words.

    The old `Q:80` counts unit lengths.
    """
    value = re.sub(r'"[^"]*"?', " ", value)
    match = re.search(r"([\d/ ]+|C\d*)=\s*(\d{1,4}(?:\.\d+)?)", value)
    if match:
        beat = Fraction(0)
        for part in match[1].split():
            ratio = re.fullmatch(r"(\d{1,3})(?:/(\d{1,3}))?", part)
            if ratio and int(ratio[2] or 1):
                beat += Fraction(int(ratio[1]), int(ratio[2] or 1))
            elif part.startswith("C"):
                beat += unit * int(part[1:3] or 1)
        bpm = float(match[2]) * float(beat) * 4
    else:
        bare = re.search(r"(?<![\d/])(\d{1,4})(?![\d/=])", value)
        bpm = float(bare[1]) * float(unit) * 4 if bare else 0.0
    return round(bpm, 3) if 4 <= bpm <= 2000 else None
