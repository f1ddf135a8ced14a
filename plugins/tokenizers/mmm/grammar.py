"""The grammar of MMM: instruments in rising order, each told by the grammar of its own notes.

Shapes: b batch, v vocabulary.
"""

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.mmm.tracks import END, START, of_one
from plugins.tokenizers.note_tokens.effects import Phase, Vocabulary
from plugins.tokenizers.note_tokens.grammar.notes import NoteGrammar
from plugins.tokenizers.note_tokens.grammar.tables import Tables

BETWEEN, BEGUN, INSIDE = range(3)  # no instrument, one that is not named yet, one that plays
FRAME = 3  # tokens around an instrument's notes


class TracksGrammar:
    """`bars` > 0: instruments of exactly so many bars each; `length` > 0: of at most so many tokens in all.

    `frame` (b 3): where it stands, the rank of the last instrument, tokens; the rest is the state of its notes.
    """

    def __init__(self, vocabulary: Vocabulary, eos_id: int, bars: int, length: int) -> None:
        self.need = of_one(vocabulary, False).needs()[Phase.START] + FRAME
        if bars < 0 or length < 0 or 0 < length < self.need:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open), or {self.need} tokens for a note")
        self.eos_id, self.length, self.size = eos_id, length, len(vocabulary.names)
        ids = {name: id for id, name in enumerate(vocabulary.names)}
        self.start, self.end = ids[START], ids[END]
        self.ranks = {ids[f"Program_{program}"]: rank for program, rank in vocabulary.ranks.items()}
        self.rank = torch.full((self.size,), -1)  # of an instrument's id
        self.rank[list(self.ranks)] = torch.tensor(list(self.ranks.values()))
        self.drums = vocabulary.ranks.get(-1, -2)
        bases = [[id] for id in range(self.size)]
        inner = max(length - 1, 0)  # the end of the instrument has a token
        self.inner = [
            NoteGrammar(Tables(of_one(vocabulary, drums), bases), eos_id, bars, inner) for drums in (False, True)
        ]

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        return {"frame": torch.tensor([[BETWEEN, -1, 0]]).repeat(batch, 1), **self.inner[0].begin(batch)}

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        where, rank, tokens = state["frame"].T
        drums = (rank == self.drums)[:, None]
        notes = torch.where(drums, *(grammar.allowed(state) for grammar in reversed(self.inner)))
        result = notes & (where == INSIDE)[:, None]
        result[:, self.end] = result[:, self.eos_id]
        more = (where == BETWEEN) & (rank < len(self.ranks) - 1)
        if self.length:
            more &= tokens + self.need <= self.length
        result[:, self.start] = more
        result[:, self.eos_id] = (where == BETWEEN) & (rank >= 0)
        named = (where == BEGUN)[:, None] & (self.rank > rank[:, None])
        return result | named

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= self.size)).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        where, rank, tokens = state["frame"].T
        named = (where == BEGUN) & (self.rank[ids] >= 0)
        drums = (rank == self.drums)[:, None]
        played = [grammar.advance(state, ids) for grammar in self.inner]
        begun = [grammar.begin(len(ids)) for grammar in self.inner]
        to_drums = (self.rank[ids] == self.drums)[:, None]
        fresh = {key: torch.where(to_drums, begun[1][key], begun[0][key]) for key in begun[0]}
        fresh["fields"][:, -1] = tokens + 1
        after = {
            key: torch.where(named[:, None], fresh[key], torch.where(drums, played[1][key], played[0][key]))
            for key in fresh
        }
        rank = torch.where(named, self.rank[ids], rank)
        where = torch.where(named, INSIDE, where)
        where = torch.where(ids == self.start, BEGUN, torch.where(ids == self.end, BETWEEN, where))
        return {"frame": torch.stack((where, rank, tokens + 1), 1), **after}
