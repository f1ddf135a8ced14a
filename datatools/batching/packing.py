"""Where pieces are cut and which crops share a row.

A piece is the sequence bos + ids + eos. Its position j reads entry j and predicts entry j + 1, so that n ids have
n + 1 positions and a crop is a range of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The rows of one epoch. Row r holds the crops `offsets[r]` to `offsets[r + 1]`, crop c being positions
    `begin[c]` to `end[c]` of piece `piece[c]`.
    """

    piece: Ints
    begin: Ints
    end: Ints
    offsets: Ints

    @property
    def rows(self) -> int:
        """How many rows the epoch has."""
        return len(self.offsets) - 1

    def counted(self, row: int) -> int:
        """Positions of a row that hold music."""
        crops = slice(self.offsets[row], self.offsets[row + 1])
        return int((self.end[crops] - self.begin[crops]).sum())


def cuts(positions: int, length: int, phase: int, bars: Ints) -> list[int]:
    """Where the crops of a piece of `positions` begin, each at most `length` long; the first position is one of them.

    Cuts fall on the largest bar start (`bars`, ascending) that a crop has room for; a bar longer than a row is cut
    where the row ends. The first crop has room for `phase` only, if a bar starts there, or if there are no bars.
    """
    begins = [0]
    room = phase
    while positions - begins[-1] > length:
        begin = begins[-1]
        index = int(np.searchsorted(bars, begin + room, side="right")) - 1
        if index >= 0 and bars[index] > begin:
            begins.append(int(bars[index]))
        elif room == length or not len(bars):
            begins.append(begin + room)
        room = length
    return begins


def best_fit(sizes: Sequence[int], length: int) -> list[int]:
    """The row of each crop: the fullest that still has room for it, else a new one.

    Wastes as little as first-fit, and a search among `length` amounts of free space, kept as the bits of one number,
    needs no walk through all open rows.
    """
    rows: list[int] = []
    count = 0
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]  # by free space
    open_bits = 0
    for size in sizes:
        fitting = open_bits >> size
        if fitting:
            free = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                open_bits ^= 1 << free
        else:
            free, row = length, count
            count += 1
        rows.append(row)
        if free > size:
            open_rows[free - size].append(row)
            open_bits |= 1 << (free - size)
    return rows


def plan(positions: Ints, bars: Sequence[Ints | None], length: int, rng: np.random.Generator, packs: bool) -> Plan:
    """Cuts, shuffles and packs all pieces once; every position of every piece is in exactly one row.

    `positions` counts those of each piece, `bars` has the bar starts of the long ones. With `packs` false each crop
    has a row of its own.
    """
    phases = rng.integers(1, length + 1, len(positions))
    piece: list[int] = []
    begin: list[int] = []
    end: list[int] = []
    for index, (count, phase) in enumerate(zip(positions.tolist(), phases.tolist())):
        where = bars[index]
        begins = [0] if where is None else cuts(count, length, phase, where)
        piece.extend([index] * len(begins))
        begin.extend(begins)
        end.extend([*begins[1:], count])
    pieces, begins_, ends = np.array(piece), np.array(begin), np.array(end)
    order = rng.permutation(len(piece))
    if packs:
        order = order[np.argsort((begins_ - ends)[order], kind="stable")]  # the longest first waste least
    pieces, begins_, ends = pieces[order], begins_[order], ends[order]
    if packs:
        row = np.array(best_fit((ends - begins_).tolist(), length))
        row = rng.permutation(row.max() + 1)[row]  # else the rows with the longest crops would come first
    else:
        row = np.arange(len(piece))
    order = np.argsort(row, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row))])
    return Plan(pieces[order], begins_[order], ends[order], offsets)
