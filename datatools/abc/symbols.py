"""Chord symbols of ABC (standard 2.1, section 4.18): `"Am7/G"` over a note, in one spelling for each chord."""

import re

from datatools.abc.keys import LETTERS

ROOTS = tuple(letter + sign for letter in LETTERS for sign in ("", "#", "b"))
# A type as it is written here, and the other spellings that collections have for it.
_TYPES: dict[str, tuple[str, ...]] = {
    "": ("maj", "M", "major"),
    "m": ("min", "mi", "-", "minor"),
    "7": ("dom7",),
    "m7": ("min7", "mi7", "-7"),
    "maj7": ("M7", "ma7", "Maj7"),
    "mmaj7": ("mM7", "minmaj7", "m(maj7)"),
    "dim": ("o", "mb5"),
    "dim7": ("o7",),
    "m7b5": ("min7b5", "-7b5", "m7(b5)"),
    "aug": ("+", "#5"),
    "aug7": ("+7", "7#5", "7+"),
    "6": ("maj6", "M6"),
    "m6": ("min6", "-6"),
    "9": (),
    "m9": ("min9", "-9"),
    "maj9": ("M9",),
    "7b9": ("7(b9)",),
    "11": (),
    "13": (),
    "add9": ("(add9)", "add2"),
    "sus2": (),
    "sus4": ("sus",),
    "7sus4": ("7sus",),
    "5": (),
}
TYPES = tuple(_TYPES)
_SPELLED = {other: name for name, others in _TYPES.items() for other in (name, *others)}
_SYMBOL = re.compile(r"([A-G][#b]?)([^/\s]*)(?:/([A-Ga-g][#b]?))?")


def chord_symbol(text: str) -> str:
    """The symbol as it is spelled here, "" for what is none: words, annotations (`^`, `_`, `<`, `>`, `@`), other types.

    Of `G(Em)`, which offers another chord in brackets, the first.
    """
    text = text.strip().replace("♯", "#").replace("♭", "b")
    for said in (text, text.partition("(")[0]):
        match = _SYMBOL.fullmatch(said)
        if match is not None and match[2] in _SPELLED:
            bass = f"/{match[3][0].upper()}{match[3][1:]}" if match[3] else ""
            return match[1] + _SPELLED[match[2]] + bass
    return ""


def shifted(symbol: str, letters: int, semitones: int) -> str:
    """The symbol so many letters and semitones higher; "" where that takes more than one sharp or flat."""
    moved = [_moved(name, letters, semitones) for name in re.findall(r"^[A-G][#b]?|(?<=/)[A-G][#b]?", symbol)]
    if "" in moved:
        return ""
    return moved[0] + re.sub(r"^[A-G][#b]?|/.*$", "", symbol) + "".join(f"/{bass}" for bass in moved[1:])


def _moved(name: str, letters: int, semitones: int) -> str:
    pitches = (0, 2, 4, 5, 7, 9, 11)
    index = LETTERS.index(name[0])
    sounding = pitches[index] + {"#": 1, "b": -1}.get(name[1:], 0) + semitones
    new = (index + letters) % 7
    sign = {0: "", 1: "#", 11: "b"}.get((sounding - pitches[new]) % 12)
    return "" if sign is None else LETTERS[new] + sign
