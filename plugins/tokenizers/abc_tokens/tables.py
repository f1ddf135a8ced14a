"""What each word of the abc vocabulary does, as tensors that its grammar looks up.

Times are ticks of `WHOLE` a whole note, fine enough for every length in every tuplet of the vocabulary.
"""

import re
from collections.abc import Callable
from fractions import Fraction

import torch

from datatools.abc.keys import parse_key
from datatools.abc.tune import Pitch
from plugins.tokenizers.abc_tokens.vocabulary import (
    HIGHEST,
    LOWEST,
    fits_tuplet,
    parse_length,
    parse_pitch,
    parse_tuplet,
    vocabulary,
)

WHOLE = 1024 * 8 * 9 * 5 * 7
PLAIN = 32  # a length is told in 32nds of the unit length: PLAIN is the unit itself


class Tables:
    """Slices of the vocabulary by kind, and the values of their words in the same order."""

    def __init__(self) -> None:
        words = vocabulary()
        self.size = len(words)
        self.id = {word: id for id, word in enumerate(words)}
        self.meters = _slice(words, lambda word: word.startswith("M:"))
        self.units = _slice(words, lambda word: word.startswith("L:"))
        self.keys = _slice(words, lambda word: word.startswith("K:"))
        self.voices = _slice(words, lambda word: word.startswith("V:"))
        self.tuplets = _slice(words, lambda word: parse_tuplet(word) is not None)
        self.lengths = _slice(words, lambda word: parse_length(word) is not None)
        self.pitches = _slice(words, lambda word: parse_pitch(word) is not None)

        meters = [re.fullmatch(r"M:(\d+)/(\d+)", word) for word in words[self.meters]]
        self.meter_ticks = torch.tensor([WHOLE * int(m[1]) // int(m[2]) if m else 0 for m in meters])  # 0: free
        units = [Fraction(word[2:]) for word in words[self.units]]
        self.unit_ticks = torch.tensor([int(WHOLE * unit) for unit in units])
        keys = [parse_key(word[2:]) for word in words[self.keys]]
        self.key_alters = torch.tensor([key.alters for key in keys if key is not None])  # k 7
        tuplets = [parse_tuplet(word) or (1, 1, 1) for word in words[self.tuplets]]
        # A last row without effect stands for "no tuplet".
        self.tuplet_p, self.tuplet_q, self.tuplet_r = (
            torch.tensor([*column, 1]) for column in zip(*tuplets, strict=True)
        )
        lengths = [parse_length(word) or Fraction(1) for word in words[self.lengths]]
        self.length_32nds = torch.tensor([*(int(length * PLAIN) for length in lengths), PLAIN])
        # u n: in a tuplet
        heads = [*lengths, Fraction(1)]
        self.length_fits = torch.tensor([[fits_tuplet(length, unit) for length in heads] for unit in units])
        pitches = [parse_pitch(word) or (0, None) for word in words[self.pitches]]
        self.pitch_step = torch.tensor([step - LOWEST for step, _ in pitches])
        self.pitch_letter = torch.tensor([step % 7 for step, _ in pitches])
        self.pitch_base = torch.tensor([Pitch(step, 0).midi for step, _ in pitches])
        self.pitch_signed = torch.tensor([alter is not None for _, alter in pitches])
        self.pitch_alter = torch.tensor([alter or 0 for _, alter in pitches])
        self.steps = HIGHEST - LOWEST + 1


def _slice(words: list[str], belongs: Callable[[str], bool]) -> slice:
    ids = [id for id, word in enumerate(words) if belongs(word)]
    assert ids == list(range(ids[0], ids[-1] + 1)), "words of a kind stand together"
    return slice(ids[0], ids[-1] + 1)
