"""The pieces of a packed batch as padded rows of their own, and which of them to pad together.

Shapes: b batch, l length, s pieces, t steps of the longest piece at hand.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# A step over a bucket costs about as much as this many further rows in it: the recurrent weights are read once a step.
_ROWS_PER_STEP = 8
_MOST_LENGTHS = 64


class PieceLayout:
    """Where the pieces of a batch with `starts` (b l) bool lie; what precedes a row's first start is a piece too."""

    def __init__(self, starts: Tensor) -> None:
        rows, length = starts.shape
        begins = starts.clone()
        begins[:, 0] = True
        self.begins = begins.flatten().nonzero().squeeze(1)  # (s,) of the batch laid end to end
        ends = torch.cat([self.begins[1:], self.begins.new_tensor([rows * length])])
        self._sizes = ends - self.begins
        self.lengths: list[int] = self._sizes.tolist()
        self.last = begins.sum(1).cumsum(0) - 1  # (b,) each row's last piece
        self._row_length = length

    def rows(self, pieces: Iterable[int]) -> tuple[Tensor, Tensor]:
        """For the chosen pieces, padded on the right: token indices (s t) into (b l) laid flat, and which are real."""
        chosen = torch.as_tensor(list(pieces), device=self.begins.device)
        sizes = self._sizes[chosen]
        steps = torch.arange(max(self.lengths[piece] for piece in chosen.tolist()), device=sizes.device)
        kept = steps < sizes[:, None]
        return self.begins[chosen][:, None] + torch.where(kept, steps, 0), kept

    def open_row(self, starts: Tensor) -> Tensor:
        """The batch row that each piece continues (s,), -1 where it begins anew."""
        row = self.begins // self._row_length
        return torch.where(starts.flatten()[self.begins], -1, row)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Partitions pieces into buckets that are each padded to their longest, at the least total cost.

    The cost of a bucket is its longest length times (its rows + a fixed number of rows). Pieces sorted by length are
    cut by dynamic programming; when there are many different lengths, near ones count as equal.
    """
    order = sorted(range(len(lengths)), key=lambda piece: -lengths[piece])
    grain = max(1, -(-max(lengths) // _MOST_LENGTHS))
    groups: list[list[int]] = []
    for piece in order:
        if groups and -(-lengths[groups[-1][0]] // grain) == -(-lengths[piece] // grain):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    sizes = [len(group) for group in groups]
    best = [0.0] + [float("inf")] * len(groups)  # the least cost of the first groups
    cut = [0] * (len(groups) + 1)
    for end in range(1, len(groups) + 1):
        rows = 0
        for begin in range(end - 1, -1, -1):
            rows += sizes[begin]
            cost = best[begin] + lengths[groups[begin][0]] * (rows + _ROWS_PER_STEP)
            if cost < best[end]:
                best[end], cut[end] = cost, begin
    found = []
    end = len(groups)
    while end:
        found.append([piece for group in groups[cut[end] : end] for piece in group])
        end = cut[end]
    return found
