"""Hyper-parameters of the tokenizer abc."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class AbcHParams:
    """Folk-RNN-style tokens over ABC text (arXiv 1604.08723)."""

    name: Literal["abc"] = "abc"
    # Tokens for the chord symbols over the notes, such as "Am7/G"; words and unknown chords in quotes are left out.
    chord_symbols: bool = False
