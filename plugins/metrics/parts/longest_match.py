"""For every place in many sequences: the longest run from there on that other sequences hold, and where.

All suffixes are sorted by prefix doubling (Manber & Myers 1993): round k ranks runs of 2^k symbols. The longest match
of a suffix is with one of its neighbors in that order, and how long it is follows from the ranks of all rounds. A
million symbols take seconds.
Shapes: n symbols of all sequences together, m places asked for.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plugins.metrics.parts.notes import Integers

NOWHERE = -1


class Matches:
    """Longest matches among sequences of integers, which are numbered as given; `owner` (n,) is a place's sequence."""

    def __init__(self, sequences: Sequence[Integers]) -> None:
        lengths = [len(sequence) for sequence in sequences]
        self.starts: Integers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.owner: Integers = np.repeat(np.arange(len(sequences)), lengths)
        self._end = self.starts[self.owner + 1]
        symbols = np.concatenate([np.zeros(0, dtype=np.int64), *sequences]).astype(np.int64)
        self._ranks = [_rank(symbols)]
        self._order = self._sorted(max(lengths, default=0))

    def against(self, queries: NDArray[np.bool_], corpus: NDArray[np.bool_]) -> tuple[Integers, Integers]:
        """For every place: length of the longest match with a place of the `corpus`, and that place.

        Both masks count sequences and share none. Outside the queries, and without a match, the length is 0 and the
        place NOWHERE.
        """
        assert not (queries & corpus).any()
        order = self._order[(queries | corpus)[self.owner[self._order]]]
        held = corpus[self.owner[order]]
        asked = np.flatnonzero(~held)
        before = np.maximum.accumulate(np.where(held, np.arange(len(order)), NOWHERE))
        after = np.minimum.accumulate(np.where(held, np.arange(len(order)), len(order))[::-1])[::-1]
        return self._best(order, asked, before[asked], after[asked])

    def among(self, corpus: NDArray[np.bool_], groups: Integers) -> tuple[Integers, Integers]:
        """The same for every place of the corpus, with places of the corpus in sequences of another group."""
        order = self._order[corpus[self.owner[self._order]]]
        group = groups[self.owner[order]]
        changes = np.flatnonzero(group[1:] != group[:-1]) + 1 if len(group) else np.zeros(0, dtype=np.int64)
        bounds = np.concatenate([[0], changes, [len(order)]]).astype(np.int64)
        run = np.searchsorted(bounds, np.arange(len(order)), "right") - 1
        return self._best(order, np.arange(len(order)), bounds[run] - 1, bounds[run + 1])

    def _best(self, order: Integers, asked: Integers, before: Integers, after: Integers) -> tuple[Integers, Integers]:
        """The better match of two neighbors in the order of suffixes, where they exist, for the positions asked."""
        lengths: Integers = np.zeros(len(self.owner), dtype=np.int64)
        places: Integers = np.full(len(self.owner), NOWHERE, dtype=np.int64)
        for neighbor in (before, after):
            there = (neighbor >= 0) & (neighbor < len(order))
            mine, theirs = order[asked[there]], order[neighbor[there]]
            shared = self.common(mine, theirs)
            better = shared > lengths[mine]
            lengths[mine[better]] = shared[better]
            places[mine[better]] = theirs[better]
        return lengths, places

    def common(self, one: Integers, other: Integers) -> Integers:
        """How many symbols the rests of sequences from places `one` and `other` (m,) on share from the beginning."""
        ends = self._end[one], self._end[other]
        found: Integers = np.zeros(len(one), dtype=np.int64)
        for power in reversed(range(len(self._ranks))):
            width = 1 << power
            whole = np.flatnonzero((one + found + width <= ends[0]) & (other + found + width <= ends[1]))
            skipped = found[whole]
            ranks = self._ranks[power]
            found[whole] += width * (ranks[one[whole] + skipped] == ranks[other[whole] + skipped])
        return found

    def _sorted(self, longest: int) -> Integers:
        """The order of suffixes: runs of 1, 2, 4, ... symbols, cut where a sequence ends, ranked until all differ."""
        ranks, width = self._ranks[0], 1
        place = np.arange(len(ranks))
        while True:
            inside = np.flatnonzero(place + width < self._end)
            second: Integers = np.zeros(len(ranks), dtype=np.int64)  # 0: the sequence has ended, which sorts first
            second[inside] = ranks[inside + width] + 1
            ranks = _rank(ranks.astype(np.int64) * (len(ranks) + 1) + second)
            width *= 2
            if width > longest or int(ranks.max(initial=0)) + 1 == len(ranks):
                return np.argsort(ranks, kind="stable")
            self._ranks.append(ranks)


def _rank(keys: Integers) -> NDArray[np.int32]:
    """The rank of each key among the different ones, from 0."""
    return np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int32)
