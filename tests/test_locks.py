"""Locks on files: one holder at a time, others told and waiting, and Windows' calls where the system is that."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import locks
from core.locks import locked, taken
from core.log import logger


def test_a_lock_is_taken_once_until_its_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a+b") as one, (tmp_path / "lock").open("a+b") as two:
        assert taken(one) and not taken(two)
        one.close()
        assert taken(two)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_does_not_hold_the_lock_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    (reading, writing), (hearing, telling) = os.pipe(), os.pipe()
    with locked(path, "somebody has it"):
        child = os.fork()
        if not child:  # pragma: no cover (another process)
            os.close(writing)
            os.write(telling, b"!")
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
        os.read(hearing, 1)  # until it is there
        with path.open("a+b") as file:
            assert not taken(file), "the one who forked has it as before"
    with path.open("a+b") as file:
        assert taken(file)
    os.close(writing)
    os.waitpid(child, 0)
    for end in (reading, hearing, telling):
        os.close(end)


def test_who_comes_second_is_told_once_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order, told = tmp_path / "new" / "folder" / "lock", list[str](), threading.Event()
    monkeypatch.setattr(logger, "info", lambda text: (order.append(text), told.set()))

    def second() -> None:
        with locked(path, "somebody else works here"):
            order.append("second")

    thread = threading.Thread(target=second, daemon=True)
    with locked(path, "nobody is told"):
        thread.start()
        assert told.wait(20)
        thread.join(0.05)
        order.append("first is done")
    thread.join(20)
    assert order == ["somebody else works here", "first is done", "second"]


@pytest.mark.parametrize("free", [True, False])
def test_windows_locks_the_first_byte(free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, str, int]] = []

    def locking(descriptor: int, how: str, size: int) -> None:
        calls.append((file.tell(), how, size))
        if how == "now" and not free:
            raise PermissionError

    monkeypatch.setattr(locks, "os", SimpleNamespace(name="nt"))
    monkeypatch.setitem(
        sys.modules,
        "msvcrt",
        SimpleNamespace(locking=locking, LK_NBLCK="now", LK_LOCK="wait"),  # type: ignore[arg-type]
    )
    with (tmp_path / "lock").open("w+b") as file:
        file.write(b"some text")
        assert taken(file) is free
        file.seek(4)
        locks._lock(file, wait=True)
    assert calls == [(0, "now", 1), (0, "wait", 1)]
