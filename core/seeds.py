"""Randomness as a pure function of where it is used: (seed, purpose, step, ...), never of what was drawn before."""

import hashlib
import secrets

import numpy as np


def derive(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and their order; the same on every machine and in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """A NumPy generator seeded with `derive(*parts)`."""
    return np.random.Generator(np.random.Philox(derive(*parts)))


def fresh_seed() -> int:
    """A seed of at most nine digits that nobody chose, from the system's entropy."""
    return secrets.randbelow(10**9)
