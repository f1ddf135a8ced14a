"""What the contracts bring with them beside the protocols: names of tokens, the examples of controls."""

from types import SimpleNamespace
from typing import Any

import pytest

from core.contracts.control import describe_example
from core.contracts.tokenizer import token_names, vocab_sizes


@pytest.mark.parametrize(
    ("described", "example"),
    [
        ("notes per second, 0 to 40, e.g. 8", "8"),
        ("a key, e.g. C major, or another, e.g. A minor ", "A minor"),
        ("8", ""),
    ],
)
def test_a_description_closes_with_its_example(described: str, example: str) -> None:
    assert describe_example(SimpleNamespace(describe=lambda: described)) == example


def test_each_id_of_a_token_has_a_name() -> None:
    one: Any = SimpleNamespace(streams=1, vocab_size=7, token=lambda id: f"<{id}>")
    two: Any = SimpleNamespace(streams=2, vocab_sizes=[7, 9], token=lambda id, stream: f"{stream}: {id}")
    assert token_names(one, 5) == ["<5>"] and token_names(two, (5, 6)) == ["0: 5", "1: 6"]
    assert vocab_sizes(one) == (7,) and vocab_sizes(two) == (7, 9)
