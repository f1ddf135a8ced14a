"""A grammar under which no piece ends, so that all rows of a batch are drawn for as long."""

from torch import Tensor

from core.contracts.grammar import Grammar, State


class Endless:
    """Another grammar, of one stream and without a limit of its own, without the token that ends a piece."""

    def __init__(self, grammar: Grammar, eos: int) -> None:
        self.grammar, self.eos = grammar, eos

    def begin(self, batch: int) -> State:
        return self.grammar.begin(batch)

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        mask = self.grammar.allowed(state).clone()
        mask[:, self.eos] = False
        return mask

    def advance(self, state: State, ids: Tensor) -> State:
        return self.grammar.advance(state, ids)
