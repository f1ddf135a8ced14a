r"""The words for what is sung: a closed alphabet, the same for all languages in Latin letters.

A letter with a mark is two words, `w:e` and the mark (Unicode's canonical decomposition, which loses nothing). Letters
that do not decompose, digits and punctuation are signs; so are `~`, a space within a syllable, and `\-`, a hyphen
within one. `w:-` says that the word goes on, `w:_` that the syllable before is held.
"""

import re
import unicodedata
from collections.abc import Iterable
from string import ascii_letters, digits

from datatools.abc.lyrics import HELD, goes_on, is_text
from datatools.abc.text import SUNG

LETTERS = frozenset(ascii_letters)
# Grave, acute, circumflex, tilde, macron, breve, dot and two dots above, ring, two acutes, caron, comma below, cedilla
# and ogonek.
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0326\u0327\u0328"
_PUNCTUATION = ".,;:!?'\"()/\u2019\u2018\u201c\u201d\u201e«»‹›…\u2013\u2014¡¿"
SIGNS = (*"ßæœøłđðþıÆŒØŁĐÐÞ", *digits, *_PUNCTUATION, "~", "\\-")
_ALPHABET = LETTERS | frozenset((*MARKS, *SIGNS))


def sung_words() -> tuple[list[str], ...]:
    """What a vocabulary with lyrics has more: letters, marks, signs, the hyphen, and what holds a syllable."""
    return tuple([SUNG + part for part in group] for group in (ascii_letters, MARKS, SIGNS, "-", HELD))


def spelled(said: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words of a tune with syllables spelled out, and the syllables that the alphabet lacks, which are left out."""
    out: list[str] = []
    lacking: list[str] = []
    voice, sung = "", {"": False}  # whether something is sung to the last note of a voice
    for word in said:
        if not word.startswith(SUNG):
            voice = word if word.startswith("V:") else voice
            out.append(word)
            continue
        syllable = word.removeprefix(SUNG)
        parts = [HELD] if syllable == HELD and sung.get(voice) else _parts(syllable) if is_text(syllable) else []
        lacking += [syllable] if is_text(syllable) and not parts else []
        sung[voice] = bool(parts)
        out += [SUNG + part for part in parts]
    return out, lacking


def _parts(syllable: str) -> list[str]:
    """Of one with text; none where the alphabet lacks a part, or more than one mark stands over a letter."""
    hyphen = ["-"] if goes_on(syllable) else []
    body = unicodedata.normalize("NFD", syllable[:-1] if hyphen else syllable)
    parts = re.findall(r"\\.|.", body)
    known = _ALPHABET.issuperset(parts)
    marked = all(before in LETTERS for before, part in zip(["", *parts], parts, strict=False) if part in MARKS)
    return [*parts, *hyphen] if known and marked else []


def longer(syllable: str, part: str) -> str:
    """An unfinished syllable with one part more; what cannot follow there is left out."""
    if syllable == HELD or goes_on(syllable) or (part in MARKS and syllable[-1:] not in LETTERS):
        return syllable
    return syllable + part if syllable or part != "-" else ""
