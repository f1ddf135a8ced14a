"""The grammar of abc tokens with chord symbols: a chord, and perhaps its bass, right before what sounds or rests.

Shapes: b batch, v vocabulary, its last words being the chords and then the basses.
"""

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.grammar import AbcGrammar
from plugins.tokenizers.abc_tokens.state import Fields

_USED = Fields._fields.index("used")
NO, CHORD, BASS = 0, 1, 2  # what the last token was of a symbol
SYMBOL, INSIDE = "symbol", "inside"  # b: that, and whether brackets or braces are open


class ChordGrammar:
    """The grammar beneath sees only the other words; its count of tokens takes symbols in."""

    def __init__(self, beneath: AbcGrammar, chords: int, basses: int) -> None:
        self.beneath = beneath
        tables = beneath.rules.tables
        self.size, self.chords, self.basses = tables.size, chords, basses
        self.begins = torch.zeros(self.size, dtype=torch.bool)  # v: words that a chord may stand over
        self.begins[tables.pitches] = True
        self.begins[[tables.id["z"], tables.id["["]]] = True
        self.opens = torch.tensor([tables.id["["], tables.id["{"]])
        self.closes = torch.tensor([tables.id["]"], tables.id["}"]])

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        none = torch.zeros(batch, dtype=torch.int64)
        return self.beneath.begin(batch) | {SYMBOL: none, INSIDE: none.bool()}

    def broken_off(self, state: State) -> Tensor:
        """As the grammar beneath says it."""
        return self.beneath.broken_off(state)

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        plain = self.beneath.allowed(state)
        symbol = state[SYMBOL][:, None]
        heads = plain & self.begins
        room = heads.any(1) & ~state[INSIDE]
        if self.beneath.rules.length:  # what a symbol takes must leave room for what it stands over
            more = self.beneath.allowed(_longer(state, torch.ones_like(state[SYMBOL])))
            room &= (more & self.begins).any(1)
        chords, basses = room[:, None] & (symbol == NO), room[:, None] & (symbol == CHORD)
        plain = torch.where(symbol == NO, plain, heads)
        return torch.cat([plain, chords.expand(-1, self.chords), basses.expand(-1, self.basses)], 1)

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.size + self.chords + self.basses:
            raise ValueError(f"ids from {int(ids.min())} to {int(ids.max())}; expected some of this vocabulary")
        symbol = torch.where(ids < self.size, NO, torch.where(ids < self.size + self.chords, CHORD, BASS))
        told = symbol != NO
        # Where a symbol is told the grammar beneath stays, which a word that any place takes stands in for.
        after = self.beneath.advance(state, torch.where(told, 0, ids))
        stayed = _longer(state, told.long())
        kept = {name: _chosen(told, stayed[name], after[name]) for name in after}
        opened, closed = torch.isin(ids, self.opens), torch.isin(ids, self.closes)
        return kept | {SYMBOL: symbol, INSIDE: (state[INSIDE] | opened) & ~closed}


def _longer(state: State, tokens: Tensor) -> State:
    """The state with so many more tokens (b,) counted."""
    fields = state["fields"].clone()
    fields[:, _USED] += tokens
    return state | {"fields": fields}


def _chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(which.reshape(-1, *[1] * (one.dim() - 1)), one, other)
