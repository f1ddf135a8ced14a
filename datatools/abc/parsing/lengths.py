"""Lengths as ABC writes them behind notes, rests and chords, as exact fractions."""

from fractions import Fraction
from functools import lru_cache

LONGEST_NOTE = 64  # whole notes


@lru_cache(maxsize=1024)
def length(text: str) -> Fraction:
    """`3/2`, `2`, `/`, `//`, `/4` as a multiple of the unit length; ValueError for what is none."""
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


def short(value: Fraction) -> str:
    """A length for people to read, however many digits it has."""
    text = str(value)
    return text if len(text) <= 16 else f"about {float(value):.3g}"


def insist_length(whole_notes: Fraction) -> None:
    """ValueError unless a note or rest may be so long."""
    if whole_notes > LONGEST_NOTE or whole_notes <= 0 or whole_notes.denominator > 1 << 16:
        raise ValueError(
            f"a note or rest of {short(whole_notes)} whole notes; expected above 0 and at most {LONGEST_NOTE}"
        )
