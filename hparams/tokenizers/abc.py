"""Hyper-parameters of the tokenizer abc."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(kw_only=True)
class AbcHParams:
    """Folk-RNN-style tokens over ABC text (arXiv 1604.08723)."""

    remedies: ClassVar[dict[str, str]] = {
        "symbols": "tokenizer.chord_symbols=true",
        "words": "tokenizer.lyrics=true",
    }

    name: Literal["abc"] = "abc"
    # Tokens for the chord symbols over the notes, such as "Am7/G"; words and unknown chords in quotes are left out.
    chord_symbols: bool = False
    # Tokens for what is sung, letter by letter before its note; syllables in other than Latin letters are left out.
    lyrics: bool = False
