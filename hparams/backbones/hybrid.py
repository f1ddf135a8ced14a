"""Hyper-parameters of `hybrid`."""

from dataclasses import dataclass
from typing import Literal

from hparams.backbones.sizes import check_sizes
from hparams.base import require

LETTERS = {
    "m": "mamba",
    "2": "mamba2",
    "3": "mamba3",
    "g": "gated_deltanet",
    "r": "rwkv7",
    "x": "mlstm",
    "a": "attention",
    "w": "attention over a window",
}


@dataclass(kw_only=True)
class HybridHParams:
    """Blocks of several kinds in one stack, by a string of letters."""

    name: Literal["hybrid"] = "hybrid"
    # Width of the model.
    dim: int = 256
    # Times that the pattern is repeated.
    layers: int = 1
    # Share of activations dropped on each residual branch in training.
    dropout: float = 0.1
    # A letter a block: m mamba, 2 mamba2, 3 mamba3, g gated_deltanet, r rwkv7, x mlstm, a attention, w attention over a
    # window; (mmma)x2 is mmmammma.
    pattern: str = "mmmmma"
    # Heads of blocks a, w and x.
    heads: int = 4
    # Inner width of the feed-forward part of blocks that have one; 0: what each has by default for the width.
    hidden: int = 800
    # Tokens that a block w sees, the token itself included.
    window: int = 128

    def __post_init__(self) -> None:
        check_sizes(self)
        require(self.heads >= 1, "backbone.heads", self.heads, "at least 1")
        require(self.hidden >= 0, "backbone.hidden", self.hidden, "0 (by default) or more")
        require(self.window >= 2, "backbone.window", self.window, "at least 2 tokens")
        letters = spelled(self.pattern)
        if set(letters) & set("awx"):
            twice = f"a multiple of twice backbone.heads ({self.heads})"
            require(self.dim % (2 * self.heads) == 0, "backbone.dim", self.dim, twice)


def spelled(pattern: str) -> str:
    """The letters of all blocks, repetitions written out; ValueError names a fault's letter and column (from 1)."""
    letters, column = _items(pattern, 0, 0)
    if column < len(pattern):
        raise _fault(pattern, column, 'a "(" before it')
    if not letters:
        raise ValueError(f"backbone.pattern is {pattern!r}; expected at least one block, as in mmma")
    return letters


def _items(pattern: str, column: int, depth: int) -> tuple[str, int]:
    """The letters from a column up to the end or a closing bracket, and where that is."""
    letters = ""
    while column < len(pattern) and pattern[column] != ")":
        character = pattern[column]
        if character == "(":
            inside, column = _items(pattern, column + 1, depth + 1)
            if column == len(pattern):
                raise ValueError(f'backbone.pattern is {pattern!r}; expected a ")" at its end')
            times, column = _times(pattern, column + 1)
            letters += inside * times
        elif character in LETTERS:
            letters, column = letters + character, column + 1
        elif character == " ":
            column += 1
        else:
            kinds = ", ".join(f"{letter} {kind}" for letter, kind in LETTERS.items())
            raise _fault(pattern, column, f"one of {kinds}")
    return letters, column


def _times(pattern: str, column: int) -> tuple[int, int]:
    """How often a bracket is repeated, from what follows it: x and a number."""
    end = column + 1
    while end < len(pattern) and pattern[end].isdecimal():
        end += 1
    number = pattern[column + 1 : end]
    if pattern[column : column + 1] != "x" or not number or not 1 <= int(number) <= 1000:
        raise _fault(pattern, column, "x and a number from 1 to 1000 after the bracket, as in (mmma)x2")
    return int(number), end


def _fault(pattern: str, column: int, expected: str) -> ValueError:
    found = f'"{pattern[column]}" in column {column + 1}' if column < len(pattern) else "an end"
    return ValueError(f"backbone.pattern is {pattern!r} with {found}; expected {expected}")
