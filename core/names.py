"""Which name is meant: by spelling, and by the words of the sentences about names."""

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches
from itertools import pairwise

LISTED = 12  # names of a list
ALIKE = 0.9  # least likeness of two spellings of one word
COMMON = 4  # as many names whose sentences hold a word, and it tells none of them from the others


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean "x"?' for the nearest of `known`, else a list of what there is (the 12 nearest names).

    Where `known` maps names to sentences about them, a name is also found by a word of its sentence.
    """
    known = known if isinstance(known, Mapping) else dict.fromkeys(known, "")
    if near := nearest(name, known) or likest(name, known):
        return meaning(near)
    shown = sorted(sorted(known), key=lambda one: -_likeness(name.lower(), one.lower()))[:LISTED]
    cut = ", ..." if len(shown) < len(known) else "."
    return f" Known: {', '.join(sorted(shown))}{cut}" if shown else " None is known."


def meaning(names: Iterable[str]) -> str:
    """The question whether one of these is meant, behind a space."""
    return " Did you mean " + " or ".join(f'"{one}"' for one in names) + "?"


def likest(name: str, known: Iterable[str], least: float = 0.5) -> list[str]:
    """The name that looks most like it, if any does by a share of at least `least`."""
    small = {one.lower(): one for one in sorted(known)}
    return [small[one] for one in get_close_matches(name.lower(), small, n=1, cutoff=least)]


def nearest(name: str, known: Mapping[str, str]) -> list[str]:
    """Who is surely meant, of names with sentences about them; empty where there is only likeness.

    In this order: the same but for case, hyphens and the like; two to four that continue it after an underscore; the
    same but for a slip; one to three that have the word in their name or sentence, such as "as in Llama".
    """
    names, plain = sorted(known), _plain(name)
    same = [one for one in names if _plain(one) == plain and plain]
    longer = [one for one in names if one.startswith(f"{name}_")]
    slips = sorted((one for one in names if _likeness(plain, _plain(one)) >= ALIKE), key=len)
    found = same or (longer if 2 <= len(longer) <= 4 else []) or slips[:1]
    for word in (plain, plain.rstrip("0123456789")):  # llama3 is a Llama
        if not found:
            said = {one: _terms(f"{one.replace('_', ' ')}. {known[one]}") for one in names}
            told = [one for one in names if any(_likeness(word, term) >= ALIKE for term in said[one])]
            found = told if len(told) < COMMON else []
    return found


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio() if one and other else 0.0


def _plain(word: str) -> str:
    """Without case, hyphens and the like: `GPT-2`, `gpt_2` and `gpt2` are one word."""
    return re.sub(r"[\W_]+", "", word.lower())


def _terms(sentence: str) -> set[str]:
    """Words of a sentence, each two that follow each other as one word too."""
    words = [_plain(word) for word in re.findall(r"\w+", sentence)]
    return {*words, *map("".join, pairwise(words))}
