"""Hyper-parameters of the built-in controls."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from hparams.base import require

MOST_WORDS = 256  # that a label may be


@dataclass(kw_only=True)
class DensityHParams:
    """Notes a bar, bar by bar."""

    name: Literal["density"] = "density"


@dataclass(kw_only=True)
class KeyHParams:
    """The key of a piece, major or minor."""

    name: Literal["key"] = "key"


@dataclass(kw_only=True)
class DensitySecondsHParams:
    """Notes a second, over the two seconds that begin at each token."""

    name: Literal["density_seconds"] = "density_seconds"


@dataclass(kw_only=True)
class PitchHistogramHParams:
    """Shares of the pitch classes, over the two seconds that begin at each token."""

    name: Literal["pitch_histogram"] = "pitch_histogram"


@dataclass(kw_only=True)
class LabelHParams:
    """A column of what the dataset says of each piece: one of a few words, or a number."""

    name: Literal["label"] = "label"
    # The column, e.g. of labels.csv in a folder.
    column: str = "label"
    # The words that a piece may have; empty: those of the data, unless all are numbers.
    words: list[str] = field(default_factory=list)
    # The least and the greatest number; empty: those of the data, where all are numbers.
    span: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        low_high = not self.span or (len(self.span) == 2 and self.span[0] < self.span[1])
        require(low_high, "controls.label.span", self.span, "two numbers, the lesser first, or nothing")
        require(not (self.span and self.words), "controls.label.words", self.words, "words or a span of numbers")
        require(len(set(self.words)) == len(self.words), "controls.label.words", self.words, "each word once")

    def learn(self, words: Sequence[str]) -> None:
        """Takes words or a span from the column; ValueError where all pieces have the same, or too many different."""
        if self.words or self.span:
            return
        different = sorted(set(words))
        numbers = [number for word in different if (number := number_of(word)) is not None]
        if len(different) < 2:
            raise ValueError(f"all pieces have the same {self.column}, {different[0]!r}, which tells nothing")
        if len(numbers) == len(different):
            self.span = [min(numbers), max(numbers)]
        elif len(different) > MOST_WORDS:
            raise ValueError(
                f"{self.column} has {len(different):,} different words; expected at most {MOST_WORDS}, or only numbers;"
                " the control text is for sentences"
            )
        else:
            self.words = different


@dataclass(kw_only=True)
class TextHParams:
    """Which of the commonest words a column of sentences holds, such as a caption; their order says nothing."""

    name: Literal["text"] = "text"
    # The column, e.g. of labels.csv in a folder.
    column: str = "caption"
    # Words that are known; empty: the commonest of the data, those of a single piece left out.
    words: list[str] = field(default_factory=list)
    # Most words to take from the data.
    most: int = 1000

    def __post_init__(self) -> None:
        require(self.most >= 1, "controls.text.most", self.most, "at least 1 word")
        require(len(set(self.words)) == len(self.words), "controls.text.words", self.words, "each word once")

    def learn(self, words: Sequence[str]) -> None:
        """Takes the words that most sentences hold; ValueError where no two sentences share one."""
        if self.words:
            return
        counts = Counter(word for sentence in words for word in set(words_of(sentence)))
        shared = sorted((-count, word) for word, count in counts.items() if count > 1)
        if not shared:
            raise ValueError(f"no two pieces share a word of {self.column}")
        self.words = [word for _, word in shared[: self.most]]


def number_of(text: str) -> float | None:
    """The finite number that a text is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def words_of(sentence: str) -> list[str]:
    """Its words in small letters, "F#" and "3/4" among them."""
    return re.findall(r"\w+(?:['/-]\w+)*[#♯♭]?", sentence.casefold())
