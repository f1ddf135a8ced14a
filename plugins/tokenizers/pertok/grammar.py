"""The grammar of PerTok: shifts, and how far a note is off them, are those that encoding tells; notes rise in time.

At one onset keys rise, and none is struck while it sounds. A piece may end behind any note.
Shapes: b batch, v vocabulary, s shifts, m microtimings, n keys (128 a program).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.grid import DRUMS
from plugins.tokenizers.pertok.steps import Steps

NEVER = 2**31 - 1


class After(IntEnum):
    """What has been said last."""

    START = 0
    BAR = 1
    SHIFT = 2
    PROGRAM = 3
    PITCH = 4
    MICRO = 5
    VELOCITY = 6
    NOTE = 7


FIELDS = ("after", "bars", "place", "first", "last", "now", "key", "rank", "tokens")


class MicroGrammar:
    """`bars` > 0: pieces of exactly so many bars, `length` > 0: of at most so many tokens in all.

    Fields (b,): the last thing said, bars told, the place told last, the first and the last onset that is open to the
    next note, the onset and the key of the note before, the rank of the program, tokens. Times are ticks.
    """

    def __init__(self, vocabulary: Vocabulary, steps: Steps, eos_id: int, bars: int, length: int) -> None:
        self.programs, self.velocities = vocabulary.grid.programs is not None, vocabulary.velocities
        self.note = 2 + self.programs + steps.micro + self.velocities  # tokens of one
        if bars < 0 or length < 0 or 0 < length < self.note:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open), or {self.note} tokens for a note")
        self.eos_id, self.bars, self.length, self.steps = eos_id, bars, length, steps
        self.size = len(vocabulary.names)
        names = [name.partition("_") for name in vocabulary.names]

        def of(*kinds: str) -> Tensor:
            return torch.tensor([id for id, (kind, _, _) in enumerate(names) if kind in kinds], dtype=torch.long)

        def told(ids: Tensor, read: Callable[[str], int]) -> Tensor:
            return torch.tensor([read(names[id][2]) for id in ids.tolist()], dtype=torch.long)

        self.bar_ids, self.shifts, self.micro, self.told_programs = map(
            of, ("Bar", "TimeShift", "MicroTiming", "Program")
        )
        levels, durations, pitches = of("Velocity"), of("Duration"), of("Pitch", "PitchDrum")
        self.ticks = torch.zeros(self.size, dtype=torch.long)  # what an id says of time
        self.ticks[self.shifts] = told(self.shifts, steps.lengths.__getitem__)
        self.ticks[durations] = told(durations, steps.lengths.__getitem__)
        self.ticks[self.micro] = told(self.micro, int)
        self.cells = torch.zeros(2, self.size, dtype=torch.long)
        self.cells[:, self.shifts] = torch.tensor([steps.cell(ticks) for ticks in self.ticks[self.shifts].tolist()]).T
        self.ranks = vocabulary.ranks
        self.rank = torch.zeros(self.size, dtype=torch.long)
        self.rank[self.told_programs] = told(self.told_programs, lambda value: self.ranks[int(value)])
        self.keys = torch.full((len(self.ranks), self.size), -1)  # of a pitch by rank, -1 where it has none
        drums, (low, high) = self.ranks.get(-1, DRUMS + 1), vocabulary.grid.drum_pitches
        for id in pitches.tolist():
            kind, _, value = names[id]
            for rank in self.ranks.values():
                own = kind == ("PitchDrum" if rank == drums and vocabulary.drum_tokens else "Pitch")
                if own and (rank != drums or low <= int(value) <= high):
                    self.keys[rank, id] = rank * 128 + int(value)
        self.silent = torch.full((128 * len(self.ranks),), NEVER, dtype=torch.int32)  # 0 for the keys that there are
        self.silent[self.keys[self.keys >= 0]] = 0
        loud = After.MICRO if self.velocities else After.VELOCITY
        self.after = torch.full((self.size,), int(After.START))
        for ids, after in (
            (self.bar_ids, After.BAR),
            (self.shifts, After.SHIFT),
            (self.told_programs, After.PROGRAM),
            (pitches, After.PITCH if steps.micro else loud),
            (self.micro, loud),
            (levels, After.VELOCITY),
            (durations, After.NOTE),
        ):
            self.after[ids] = int(after)
        self.follows = {After.MICRO: levels, After.VELOCITY: durations}

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens; `busy` (b n) says until when each key sounds."""
        zero = torch.zeros(batch, dtype=torch.long)
        last = zero + self._down(min(self.steps.least - 1, self.steps.reach))
        fields = dict.fromkeys(FIELDS, zero) | {"last": last, "now": zero - self.steps.unit}
        return {"fields": torch.stack(list(fields.values()), 1), "busy": self.silent.repeat(batch, 1)}

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        after, bars, place, first, last, now, key, rank, tokens = state["fields"].T
        steps, busy = self.steps, state["busy"]
        left = self.length - tokens if self.length else torch.full_like(tokens, NEVER)
        result = torch.zeros(len(after), self.size, dtype=torch.bool)
        moves = (after <= After.BAR) | (after == After.NOTE)
        free = busy.min(1).values  # b: when the first key is
        low, high = self._cell(place[:, None], self.shifts, bars[:, None])  # b shifts
        # Keys rise at one onset: there only a higher one is open, and none may be behind the highest.
        higher = torch.arange(busy.shape[1]) > key[:, None]  # b n
        above = busy.masked_fill(~higher, NEVER).min(1).values  # b: when the first of them is
        later, level = torch.maximum(free, now + steps.unit), torch.maximum(above, now)
        within = torch.maximum(low, torch.minimum(later, level)[:, None]) <= high
        result[:, self.shifts] = (moves & (left > self.note))[:, None] & within
        line = (bars + 2) * steps.bar - steps.least  # the last onset in the bar that would begin
        more = ((free - line + steps.bar - 1) // steps.bar).clamp(min=0)  # bars behind it until a key is free
        ends = bars + 1 + more < self.bars if self.bars else torch.ones_like(moves)
        result[:, self.bar_ids] = (moves & ends & (left >= 2 + more + self.note))[:, None]
        begins = (moves | (after == After.SHIFT)) & (left >= self.note)
        # A key is open where it is silent within the window, later than the note before or, above it, then.
        open = busy <= torch.where(first <= last, last, -1)[:, None]  # b n
        open &= higher | (now + steps.unit <= last)[:, None]
        if self.programs:
            ready = open.view(len(open), -1, 128).any(2)  # b ranks
            result[:, self.told_programs] = begins[:, None] & ready[:, self.rank[self.told_programs]]
            begins = after == After.PROGRAM
        keys = self.keys[rank]  # b v
        result |= begins[:, None] & (keys >= 0) & open.gather(1, keys.clamp(min=0))
        off = place[:, None] + self.ticks[self.micro]  # b microtimings
        timed = (off >= first[:, None]) & (off <= last[:, None])
        result[:, self.micro] = (after == After.PITCH)[:, None] & timed
        for said, ids in self.follows.items():
            result[:, ids] = (after == said)[:, None]
        ended = (after == After.NOTE) & (bars + 1 >= self.bars)
        result[:, self.eos_id] = ended | ~result.any(1)
        return result

    def _cell(self, place: Tensor, ids: Tensor, bars: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the last onset for which a shift from `place` is told."""
        steps, (low, high) = self.steps, self.cells[:, ids]
        there = place + self.ticks[ids]
        low, high = torch.maximum(place + low, there - steps.reach), torch.minimum(place + high, there + steps.reach)
        return self._up(low), self._down(torch.minimum(high, (bars + 1) * steps.bar - steps.least))

    def _up(self, ticks: Tensor) -> Tensor:
        return -(-ticks // self.steps.unit) * self.steps.unit

    def _down(self, ticks: Any) -> Any:
        return ticks // self.steps.unit * self.steps.unit

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= self.size)).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        _, bars, place, first, last, now, key, rank, tokens = state["fields"].T
        steps, after, ticks, rows = self.steps, self.after[ids], self.ticks[ids], torch.arange(len(ids))
        moved, told, struck = after == After.SHIFT, after == After.BAR, self.keys[rank, ids]
        low, high = self._cell(place, ids, bars)
        bars = bars + told.long()
        place = torch.where(told, bars * steps.bar, torch.where(moved, place + ticks, place))
        # Without a shift a note lies less than the least one behind the place; at a bar line, or before it.
        near = self._down(place + min(steps.least - 1, steps.reach))
        near = torch.minimum(near, self._down((bars + 1) * steps.bar - steps.least))
        early = self._up(place - min(steps.least - 1, steps.reach))
        pitched = struck >= 0
        again = now + steps.unit * (struck <= key)  # keys rise at one onset
        onset = torch.maximum(torch.maximum(first, again), state["busy"][rows, struck.clamp(min=0)])
        first = torch.where(moved, low, torch.where(told, early, torch.where(pitched, onset, first)))
        last = torch.where(moved, high, torch.where(told, near, last))
        timed = torch.isin(ids, self.micro) if steps.micro else pitched
        now = torch.where(timed, place + ticks, now)
        key = torch.where(pitched, struck, key)
        rank = torch.where(after == After.PROGRAM, self.rank[ids], rank)
        ends = after == After.NOTE
        busy = state["busy"].clone()
        until = torch.where(ends, now + ticks, 0).to(torch.int32)
        busy[rows, key] = torch.maximum(busy[rows, key], until)
        first, last = torch.where(ends, now, first), torch.where(ends, near, last)
        fields = (after, bars, place, first, last, now, key, rank, tokens + 1)
        return {"fields": torch.stack(fields, 1), "busy": busy}
