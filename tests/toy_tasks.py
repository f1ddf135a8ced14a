"""Tasks for worker processes, good and bad; light to import, since every worker does."""

import ctypes
import os
import signal
import sys
import time
from typing import Any

from core.errors import HubError


def act(what: str) -> Any:
    """Does what the task's name says."""
    word, _, rest = what.partition(" ")
    if word == "refuse":
        raise ValueError(rest)
    if word == "break":
        raise KeyError(rest)
    if word == "hang":
        time.sleep(600)
    if word == "crash":
        os.write(2, b"native words before the end\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "orphan":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    if word == "exit":
        os._exit(7)
    if word == "quit":
        sys.exit(7)
    if word == "hog":
        return len(bytes(3 << 30))
    if word == "print":
        print("words on stdout")
        libc = ctypes.CDLL(None)
        libc.puts(b"words of C")
        libc.fflush(None)
        print("words on stderr", file=sys.stderr)
    if word == "lambda":
        return lambda: rest
    if word == "large":
        return bytes(5 << 20)
    if word == "pid":
        return os.getpid()
    return what


def warm_badly() -> None:
    raise HubError("the tokenizer's folder is gone")


def warm_wrongly() -> None:
    raise KeyError("a bug")


def warm_nothing(folder: str) -> None:
    """For tasks that need no warmth."""


def die_at(folder: str, task: tuple[str, int, int, int]) -> dict[str, dict[str, Any]]:
    """A chunk of fuzzed inputs of which number 4 kills the process, looked at in two ways."""
    _, _, start, stop = task
    if start <= 4 < stop:
        os.kill(os.getpid(), signal.SIGKILL)
    tally = {"ends": {"read": stop - start}, "reasons": {}, "findings": [], "slowest": (0.0, start), "megabytes": 1.0}
    return {"toy, one way": tally, "toy, another": tally}
