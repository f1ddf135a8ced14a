"""The worker's side of `workers`: takes tasks from its standard input, answers on its standard output."""

import contextlib
import os
import pickle
import signal
import sys
import traceback
from typing import Any, BinaryIO

KEPT_OUTPUT = 2000  # bytes of what native code printed that go back with an answer


def reason(error: BaseException) -> str:
    """One line for an exception; a ValueError speaks to people already, anything else is named with its place."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, ValueError) and text:
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def serve() -> None:
    """Runs the function that the parent sends first on every task that follows, until the parent hangs up."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # the parent made descriptor 2 a file: all that is printed, by C code too, ends there
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone or has had enough
        _serve(tasks, answers)
    os._exit(0)  # native libraries may hang or crash while they are torn down


def _serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    megabytes: int = pickle.load(tasks)
    _limit_memory(megabytes)
    try:
        function, warm = pickle.load(tasks)
        if warm is not None:
            warm()
    except EOFError:
        raise
    except BaseException as error:
        _answer(answers, ("refused" if isinstance(error, ValueError) else "broken", _why(error), "", False))
        return
    _answer(answers, ("ready", None, _output(), False))
    while True:
        task = pickle.load(tasks)
        try:
            kind, value = "done", function(task)
        except MemoryError:
            kind, value = "limited", f"needs more than {megabytes} MB of memory"
        except BaseException as error:
            kind, value = "failed", reason(error)
        worn = _peak_megabytes() > megabytes
        try:
            _answer(answers, (kind, value, _output(), worn))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            _answer(answers, ("failed", reason(error), _output(), worn))


def _why(error: BaseException) -> str:
    if isinstance(error, ValueError):
        return str(error)
    return "".join(traceback.format_exception(error))


def _answer(answers: BinaryIO, message: tuple[str, Any, str, bool]) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)  # whole before the first byte is on its way
    answers.write(data)
    answers.flush()


def _output() -> str:
    """Takes what was printed since the last call out of the file behind descriptor 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    size = os.fstat(2).st_size
    if not size:
        return ""
    os.lseek(2, max(0, size - KEPT_OUTPUT), os.SEEK_SET)
    text = os.read(2, KEPT_OUTPUT).decode(errors="replace")
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return text


def _limit_memory(megabytes: int) -> None:
    """Makes allocations beyond the limit fail where the system can do that; elsewhere the peak is looked at later."""
    if sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = megabytes << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _peak_megabytes() -> float:
    if sys.platform in ("win32", "linux"):  # Linux holds to the limit, and counts in what the parent held at the start
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, kilobytes elsewhere
