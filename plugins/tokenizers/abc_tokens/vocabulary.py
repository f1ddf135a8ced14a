"""The words of the `abc` tokenizer: a closed list, the same on every machine and for all data."""

import re
from fractions import Fraction

from datatools.abc.keys import LETTERS, key_names
from datatools.abc.symbols import ROOTS, TYPES
from datatools.abc.text import length_word, pitch_word
from datatools.abc.tune import Pitch

SPECIALS = ("<pad>", "<bos>", "<eos>")
VOICES = 16
# Meters: beats by beat unit.
METERS = {1: range(1, 5), 2: range(1, 9), 4: range(1, 17), 8: range(1, 25), 16: range(1, 25), 32: (3, 6, 9, 12)}
UNITS = (2, 4, 8, 16, 32)
# Tuplets as (p, q, r); `(3:2:r` carries triplet rhythms of any make-up.
TUPLETS = (
    *((3, 2, r) for r in range(1, 13)),
    *((2, 3, r) for r in (1, 2, 3, 4)),
    (4, 3, 4),
    *((5, q, 5) for q in (2, 3, 4)),
    *((6, q, 6) for q in (2, 4, 5)),
    *((7, q, 7) for q in (2, 3, 4, 6)),
    (8, 3, 8),
    (8, 6, 8),
    *((9, q, 9) for q in (2, 3, 4, 8)),
)
# Lengths in unit lengths; 1 has no word.
LENGTHS = (
    *(Fraction(n) for n in (*range(2, 17), 18, 20, 24, 28, 32, 48, 64)),
    *(Fraction(n, d) for d in (2, 4, 8) for n in range(1, 16, 2)),
    *(Fraction(n, d) for d in (16, 32) for n in (1, 3, 5, 7)),
)
# From the piano's lowest A to its highest C, each plain or with a sign.
LOWEST, HIGHEST = 5, 56  # diatonic steps above C,,,,
_PITCH = re.compile(r"([\^_=]?)([A-Ga-g])([,']*)")
_ALTERS = {"^": 1, "=": 0, "_": -1}


def fits_tuplet(length: Fraction, unit: Fraction) -> bool:
    """Whether one note head, dotted or not, bears the length in unit lengths; in tuplets readers take no other.

    None bears 32 whole notes: music21 has no name for more than a dotted or undotted duplex maxima, 16 of them.
    """
    odd = length.numerator
    while odd % 2 == 0:
        odd //= 2
    return odd in (1, 3, 7, 15) and length * unit < 32


def tuplet_word(p: int, q: int, r: int) -> str:
    return "(3" if (p, q, r) == (3, 2, 3) else f"({p}:{q}:{r}"


def vocabulary() -> list[str]:
    """Every word, by id."""
    words = list(SPECIALS)
    words += ["M:none", *(f"M:{n}/{d}" for d, beats in METERS.items() for n in beats)]
    words += [f"L:1/{d}" for d in UNITS]
    words += [f"K:{name}" for name in key_names()]
    words += [f"V:{n}" for n in range(1, VOICES + 1)]
    words += ["|", "z", "[", "]", "{", "}", "-"]
    words += [tuplet_word(*tuplet) for tuplet in TUPLETS]
    words += [length_word(length) for length in LENGTHS]
    words += [pitch_word(Pitch(step, 0), sign) for step in range(LOWEST, HIGHEST + 1) for sign in ("", "^", "=", "_")]
    return words


def chord_words() -> tuple[list[str], list[str]]:
    """What a vocabulary with chord symbols has more: the chords, and the bass notes that may follow one."""
    return [f'"{root}{kind}"' for root in ROOTS for kind in TYPES], [f'"/{root}"' for root in ROOTS]


def parse_pitch(word: str) -> tuple[int, int | None] | None:
    """(step, alteration or None without a sign) of a pitch word, None for any other word."""
    match = _PITCH.fullmatch(word)
    if match is None:
        return None
    octave = 4 + match[2].islower() + match[3].count("'") - match[3].count(",")
    return octave * 7 + LETTERS.index(match[2].upper()), _ALTERS.get(match[1])


def parse_length(word: str) -> Fraction | None:
    """The multiple of the unit length that a length word says, None for any other word."""
    match = re.fullmatch(r"(\d*)(?:/(\d+))?", word)
    return Fraction(int(match[1] or 1), int(match[2] or 1)) if match and word else None


def parse_tuplet(word: str) -> tuple[int, int, int] | None:
    """(p, q, r) of a tuplet word, None for any other word."""
    if word == "(3":
        return (3, 2, 3)
    match = re.fullmatch(r"\((\d):(\d+):(\d+)", word)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
