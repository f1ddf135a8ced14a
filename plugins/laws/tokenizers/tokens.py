"""Tokens of one or of several streams, for laws that hold for both."""

from typing import Any

import numpy as np

from core.contracts.tokenizer import Ids, vocab_sizes


def ids_of(token: Any) -> list[Any]:
    """The ids of a token, stream by stream."""
    return list(token) if isinstance(token, list | tuple) else [token]


def token_of(tokenizer: Any, *ids: int) -> Any:
    """The token of ids stream by stream; those that are missing are 0."""
    return ids[0] if tokenizer.streams == 1 else [*ids, *[0] * (tokenizer.streams - len(ids))]


def random_tokens(tokenizer: Any, draw: np.random.Generator, length: int) -> Ids:
    """Tokens of any ids of the vocabularies, specials among them."""
    columns = [draw.integers(0, size, length).tolist() for size in vocab_sizes(tokenizer)]
    return columns[0] if len(columns) == 1 else [list(token) for token in zip(*columns, strict=True)]
