"""States of models after the first tokens of pieces, so that going on from there reads nothing again.

Undo, fork and variations are all a request with the tokens up to some place; the state nearest before it is found by a
hash of the tokens. What lies here is bounded in bytes, and what was not asked for longest goes.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from core.contracts.backbone import nbytes
from core.contracts.tokenizer import Ids
from core.model.interleaving import Kept


class Prefix:
    """The hash of a growing row of tokens under a model and what is asked of it."""

    def __init__(self, *root: Any) -> None:
        self._hash = hashlib.blake2b(repr(root).encode(), digest_size=16)

    def add(self, token: Any) -> None:
        """One more token."""
        self._hash.update(f"{token},".encode())

    def key(self) -> bytes:
        """The hash so far."""
        return self._hash.copy().digest()


class States:
    """Kept states by their prefix."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def put(self, key: bytes, kept: Kept) -> None:
        """Keeps one, and lets older ones go where there is no room."""
        self._forget(key)
        self._kept[key] = kept
        self.bytes += _size(kept)
        while self.bytes > self.most_bytes:
            self._forget(next(iter(self._kept)))

    def longest(self, prefix: Prefix, tokens: Ids) -> tuple[int, Kept] | None:
        """The state after the most of `tokens`, and how many these are; `prefix` has read them all afterwards."""
        found: tuple[int, Kept] | None = None
        for count, key in enumerate(_keys(prefix, tokens), 1):
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                found = count, kept
        return found

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= _size(kept)


def _keys(prefix: Prefix, tokens: Ids) -> Iterable[bytes]:
    for token in tokens:
        prefix.add(token)
        yield prefix.key()


def _size(kept: Kept) -> int:
    return nbytes(kept.state) + nbytes({"hidden": kept.hidden})
