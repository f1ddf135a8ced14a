"""The grammar of abc tokens: a header, then bars that add up to the meter, every bracket closed and every tuplet full.

Only the first bar may be shorter than its meter (a pick-up) and the last; several voices have bars of equal lengths. A
tie leads to a note of the same pitch, grace notes to a note, a chord rises and has at least two notes. Within a tuplet
other than a triplet all lengths are equal; a triplet's lengths add up to whole 32nds of the unit length.

Shapes: b batch, v vocabulary.
"""

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers import compiled as native
from plugins.tokenizers.abc_tokens.advance import advance
from plugins.tokenizers.abc_tokens.allowed import allowed
from plugins.tokenizers.abc_tokens.effects import SINGLE
from plugins.tokenizers.abc_tokens.native import native_tables
from plugins.tokenizers.abc_tokens.rules import Rules
from plugins.tokenizers.abc_tokens.state import begin, fields_of
from plugins.tokenizers.abc_tokens.tables import Tables


class AbcGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens, bos and eos not counted."""

    def __init__(self, tables: Tables, eos_id: int, bars: int = 0, length: int = 0) -> None:
        self.rules = Rules(tables, eos_id, bars, length)
        self.native = native.compiled(lambda: native_tables(self.rules))

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        return begin(self.rules.effects, batch)

    def broken_off(self, state: State) -> Tensor:
        """(b,) whether the only voice has closed a bar short of its meter, after which nothing but the end may come."""
        fields = fields_of(state)
        return torch.from_numpy((fields.final == 1) & (fields.voicing == SINGLE))

    def allowed(self, state: State) -> Tensor:
        """(b v) bool: what may come next."""
        if self.native is None:
            return allowed(self.rules, state)
        result = torch.empty(len(state["fields"]), self.rules.tables.size, dtype=torch.bool)
        self.native.call("allowed", len(result), *_together(state), result)
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64).contiguous()
        if self.native is None:
            return advance(self.rules, state, ids)
        before = _together(state)
        after = [torch.empty_like(tensor) for tensor in before]
        self.native.call("advance", len(ids), *before, ids, *after)
        return dict(zip(_TENSORS, after, strict=True))


_TENSORS = ("fields", "voices", "alters", "pitches")


def _together(state: State) -> list[Tensor]:
    """The tensors of a state, each in one piece of memory."""
    return [state[name].contiguous() for name in _TENSORS]
