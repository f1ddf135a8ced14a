"""Vectors of words from what stands around them, for vocabularies of hundreds.

Skip-gram with negative sampling (word2vec, Mikolov et al. 2013) is a factorization of the pointwise mutual information
of words and contexts (Levy & Goldberg 2014). With so few words it is computed at once, by singular values: nothing is
drawn by chance, and the same corpus gives the same distances.
Shapes: v words, e numbers a vector, at most SIZE.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plugins.metrics.parts.notes import Floats

SIZE = 100
WINDOW = 4
LEAST_COUNT = 2
FLATTENED = 0.75  # power of a context's frequency, as negative samples are drawn


@dataclass(frozen=True)
class WordVectors:
    """`vectors` (v e) of `words`; `pieces` is how many sequences they were learned from."""

    words: dict[str, int]
    vectors: Floats
    pieces: int

    def mean(self, words: Sequence[str]) -> Floats | None:
        """The mean vector (e,) of the known ones among the words; None when there is none."""
        known = [self.words[word] for word in words if word in self.words]
        return self.vectors[known].mean(axis=0) if known else None

    def unknown(self, words: Sequence[str]) -> int:
        """How many of the words have no vector."""
        return sum(word not in self.words for word in words)

    @property
    def digest(self) -> str:
        """Changes with the words and, to 4 digits, with the products of their vectors, which no rotation changes."""
        rounded = np.round(self.vectors @ self.vectors.T, 4) + 0.0  # no negative nought
        return hashlib.sha256("\n".join(self.words).encode() + rounded.tobytes()).hexdigest()[:16]


def learn(sequences: Sequence[Sequence[str]]) -> WordVectors:
    """A vector for each word that occurs at least LEAST_COUNT times; the order of sequences does not matter."""
    counts = Counter(word for sequence in sequences for word in sequence)
    words = {word: place for place, word in enumerate(sorted(w for w, n in counts.items() if n >= LEAST_COUNT))}
    left, values, _ = np.linalg.svd(information(contexts(sequences, words)))
    return WordVectors(words, (left * np.sqrt(values))[:, :SIZE], len(sequences))


def contexts(sequences: Sequence[Sequence[str]], words: dict[str, int]) -> Floats:
    """How often each word stands near each other one (v v); nearer ones weigh more, as with windows of drawn width."""
    table = np.zeros((len(words), len(words)))
    for sequence in sequences:
        places = np.array([words[word] for word in sequence if word in words], dtype=np.int64)
        for apart in range(1, WINDOW + 1):
            np.add.at(table, (places[:-apart], places[apart:]), (WINDOW + 1 - apart) / WINDOW)
    return table + table.T


def information(table: Floats) -> Floats:
    """Pointwise mutual information in nats (v v) of words and contexts, 0 where they meet less than by chance."""
    occurs = table.sum(axis=1)
    if not occurs.sum():
        return np.zeros_like(table)
    shares, flat = occurs / occurs.sum(), occurs**FLATTENED / (occurs**FLATTENED).sum()
    chance = np.outer(shares, flat)
    met = table > 0
    return np.log(np.where(met, table / table.sum(), 1.0) / np.where(met, chance, 1.0)).clip(0.0)
