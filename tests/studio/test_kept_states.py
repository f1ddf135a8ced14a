"""States that the studio keeps: counted once, found by their tokens, the one asked for longest ago goes first."""

from typing import Any

import torch

from core.model.interleaving import Kept
from supervisors.studio.states import Prefix, States

BYTES = 4 * (3 + 10)


def kept(value: float = 0.0) -> Kept:
    return Kept(torch.full((1, 3), value), {"h": torch.zeros(1, 10)})


def key(*tokens: Any, root: str = "model") -> bytes:
    prefix = Prefix(root)
    for token in tokens:
        prefix.add(token)
    return prefix.key()


def test_a_state_kept_again_takes_the_place_of_the_first() -> None:
    states = States(2 * BYTES)
    for value in range(5):
        states.put(key(1), kept(float(value)))
        assert states.bytes == BYTES
    states.put(key(1, 2), kept())
    assert states.bytes == 2 * BYTES
    found = states.longest(Prefix("model"), [1])
    assert found is not None and found[0] == 1 and found[1].hidden[0, 0] == 4


def test_what_was_not_asked_for_longest_goes() -> None:
    states = States(2 * BYTES + 1)
    states.put(key(1), kept())
    states.put(key(2), kept())
    assert states.longest(Prefix("model"), [1]) is not None
    states.put(key(3), kept())
    assert states.longest(Prefix("model"), [2]) is None and states.bytes == 2 * BYTES
    assert states.longest(Prefix("model"), [1]) is not None and states.longest(Prefix("model"), [3]) is not None
    states.put(key(4), Kept(torch.zeros(1, 3), {"h": torch.zeros(1, 1000)}))  # more than there is room for
    assert states.bytes == 0 and states.longest(Prefix("model"), [4]) is None


def test_the_longest_prefix_is_found_and_all_tokens_are_read() -> None:
    states = States(9 * BYTES)
    states.put(key(1), kept(1))
    states.put(key(1, 12), kept(2))
    states.put(key(1, 12, 3, 4), kept(4))
    prefix = Prefix("model")
    found = states.longest(prefix, [1, 12, 3])
    assert found is not None and (found[0], float(found[1].hidden[0, 0])) == (2, 2.0)
    assert prefix.key() == key(1, 12, 3) != key(11, 2, 3)
    assert states.longest(Prefix("another"), [1, 12]) is None and states.longest(Prefix("model"), []) is None
