"""Locks on files, which the system takes back when the process that holds one ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from core.log import logger


def taken(file: IO[Any]) -> bool:
    """Takes the lock of an open file until it is closed; False when another process has it."""
    try:
        _lock(file, wait=False)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextmanager
def locked(path: Path, notice: str) -> Iterator[None]:
    """Holds a lock for the block; logs `notice` when another process has it, and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not taken(file):
            logger.info(notice)
            _lock(file, wait=True)
        yield  # closing the file lets the lock go


def _lock(file: IO[Any], wait: bool) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(0)  # a lock of one byte, at the file's position
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held.add(file)


_held: "WeakSet[IO[Any]]" = WeakSet()


def _leave() -> None:
    """In a fork: lets go of the files that it shares, or it would hold their locks when this process has ended."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in _held:
        if not file.closed:
            os.dup2(nothing, file.fileno())
    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
