"""Vectors of words from what stands around them (skip-gram, Mikolov et al. 2013), for vocabularies of hundreds.

So few words need no sampling: the loss is the exact softmax over expected counts (window and subsampling enter as
weights), the whole corpus is one batch, and the same corpus gives the same vectors.
Shapes: v words, e numbers a vector.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.seeds import derive
from plugins.metrics.notes import Floats

SIZE = 100
WINDOW = 4
LEAST_COUNT = 2
SUBSAMPLING = 1e-3
STEPS = 200
RATE = 0.02


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
        """Changes with the words and, to 6 digits, with their vectors."""
        rounded = np.round(self.vectors, 6) + 0.0
        return hashlib.sha256("\n".join(self.words).encode() + rounded.tobytes()).hexdigest()[:16]


def train(sequences: Sequence[Sequence[str]], *, seed: int = 0) -> WordVectors:
    """Learns a vector for each word that occurs at least LEAST_COUNT times; the order of sequences does not matter."""
    counts = Counter(word for sequence in sequences for word in sequence)
    words = {word: place for place, word in enumerate(sorted(w for w, n in counts.items() if n >= LEAST_COUNT))}
    if not words:
        return WordVectors(words, np.zeros((0, SIZE)), len(sequences))
    weights = _contexts(sequences, words) * np.outer(*[_kept(counts, words)] * 2)
    return WordVectors(words, _fitted(weights, seed), len(sequences))


def _kept(counts: Counter[str], words: dict[str, int]) -> Floats:
    """The chance (v,) of each word to be kept: frequent ones say little."""
    shares = np.array([counts[word] for word in words]) / sum(counts[word] for word in words)
    return np.minimum(np.sqrt(SUBSAMPLING / shares) + SUBSAMPLING / shares, 1.0)


def _contexts(sequences: Sequence[Sequence[str]], words: dict[str, int]) -> Floats:
    """How often each word stands near each other one (v v); nearer ones weigh more, as with windows of drawn width."""
    table = np.zeros((len(words), len(words)))
    for sequence in sequences:
        places = np.array([words[word] for word in sequence if word in words], dtype=np.int64)
        for apart in range(1, WINDOW + 1):
            np.add.at(table, (places[:-apart], places[apart:]), (WINDOW + 1 - apart) / WINDOW)
    return table + table.T


def _fitted(weights: Floats, seed: int) -> Floats:
    """Vectors (v e) that predict their contexts best; with no context at all, the ones that chance gave."""
    import torch

    draws = torch.Generator().manual_seed(derive("word vectors", seed))
    shape = (len(weights), SIZE)
    inner = ((torch.rand(shape, generator=draws, dtype=torch.float64) - 0.5) / SIZE).requires_grad_()
    outer = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    targets = torch.from_numpy(weights / max(weights.sum(), 1e-12))
    optimizer = torch.optim.Adam([inner, outer], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = -(targets * torch.log_softmax(inner @ outer.T, dim=1)).sum()
            loss.backward()
            optimizer.step()
    result: Floats = inner.detach().numpy()
    return result
