"""Sequences of bare tokens, without music, whose best possible score is known.

A task draws ids (b l+1); a token is predicted from those before it, or, in a task with answers, its answer is read off
each token. Every row is a pure function of the generator.

Shapes: b batch, l length.
Sources: counting, random notes, one song: the sanity tests of mamba-music-generation; copying, induction: Gu & Dao,
arXiv 2312.00752, section 4.1; parity: Grazzi et al., arXiv 2411.12537.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.model.language_model import IGNORED

Drawn = tuple[Tensor, Tensor]  # ids and targets (b l), -100 where nothing is asked
VOCABULARY = 32
_MARK = VOCABULARY - 1  # a token that no content has
_EVEN = math.log(VOCABULARY)  # nats of a guess among all tokens


@dataclass(frozen=True)
class Task:
    """One rung. `passed` reads the share of right answers and the nats of rows that were never trained on."""

    name: str
    question: str
    draw: Callable[[int, int, torch.Generator], Drawn]
    length: int
    tested: int  # length of the rows that are scored
    steps: int  # of training at the most
    passed: Callable[[float, float], bool]


def counting(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """Numbers that go up by one, round and round, from anywhere."""
    first = torch.randint(VOCABULARY, (batch, 1), generator=generator)
    return _shifted((first + torch.arange(length + 1)) % VOCABULARY)


def random_notes(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """Tokens that hang on nothing."""
    return _shifted(torch.randint(VOCABULARY, (batch, length + 1), generator=generator))


def one_song(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """The same random tokens in every row."""
    song = torch.randint(VOCABULARY, (length + 1,), generator=torch.Generator().manual_seed(0))
    return _shifted(song.expand(batch, -1))


def copying(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """Random tokens, a mark, and the same tokens again, which are asked for."""
    half = length // 2
    content = torch.randint(_MARK, (batch, half), generator=generator)
    ids, targets = _shifted(torch.cat([content, torch.full((batch, 1), _MARK), content], 1))
    return ids, targets.index_fill(1, torch.arange(half), IGNORED)


def induction(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """Random tokens in which a mark comes twice; what followed the first is asked for after the second."""
    ids = torch.randint(_MARK, (batch, length), generator=generator)
    place = torch.randint(length - 3, (batch,), generator=generator)
    rows = torch.arange(batch)
    ids[rows, place] = _MARK
    ids[:, -1] = _MARK
    targets = torch.full_like(ids, IGNORED)
    targets[:, -1] = ids[rows, place + 1]
    return ids, targets


def parity(batch: int, length: int, generator: torch.Generator) -> Drawn:
    """Random bits; after each the parity of all so far, which no sum of the past tells at any length."""
    bits = torch.randint(2, (batch, length), generator=generator)
    return bits, bits.cumsum(1) % 2


def _shifted(ids: Tensor) -> Drawn:
    return ids[:, :-1], ids[:, 1:]


def _right(least: float) -> Callable[[float, float], bool]:
    return lambda accuracy, nats: accuracy >= least


TASKS = (
    Task("counting", "learns a rule of one step", counting, 64, 64, 400, _right(0.98)),
    Task("random_notes", "invents no rule", random_notes, 64, 64, 100, lambda _, nats: abs(nats - _EVEN) < 0.1),
    Task("one_song", "learns a row by heart", one_song, 64, 64, 400, _right(0.95)),
    Task("copying", "recalls in order", copying, 32, 32, 400, _right(0.9)),
    Task("induction", "recalls by content", induction, 32, 32, 400, _right(0.9)),
    Task("parity", "tracks a state", parity, 32, 32, 400, _right(0.95)),
    Task("parity_longer", "tracks it four times as long as trained", parity, 32, 128, 400, _right(0.9)),
)
