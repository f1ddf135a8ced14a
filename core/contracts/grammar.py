"""The contract of a grammar: which token may follow, so that whatever is drawn decodes to the music it names.

Shapes: b batch, v vocabulary.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # whoever only encodes, as the workers do, needs no PyTorch
    from torch import Tensor

State = dict[str, "Tensor"]  # the first dimension of every tensor is the batch


@runtime_checkable
class Grammar(Protocol):
    """An automaton over tokens, in tensors: no Python per row. A state is never changed in place.

    Two promises: no next token of any real piece is ever masked, and whatever is drawn under the mask until eos
    decodes to music that survives encoding it again.

    Of a tokenizer with k streams, `allowed(state)` is the mask of the first, `allowed(state, known)` that of stream j
    given the ids known (b j) of the token's streams before, and `advance` takes ids (b k).
    """

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        ...

    def allowed(self, state: State, known: "Tensor | None" = None) -> "Tensor":
        """(b v) bool: what may come next. Never nothing; eos only where the piece is complete; never pad or bos."""
        ...

    def advance(self, state: State, ids: "Tensor") -> State:
        """The state after one more token (b,) a row."""
        ...
