"""Pieces spread over machines by an engine that is there already: Dask, MPI, any `concurrent.futures.Executor`.

A future cannot stop the worker that computes it, so a task of the executor is a chunk of pieces, and wherever it lands
they run in a subprocess under the same limits as at home. Results come in the order of the pieces.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast

from core.errors import HubError
from core.names import did_you_mean
from core.words import counted
from datatools.reading import kept as readings
from datatools.reading.libraries import versions
from datatools.workers.pool import Failure, Result, Seat, Task, greeting, map_pieces, progress_bar, watch_interval
from datatools.workers.worker import reason

VARIABLE = "SWAPTUNES_EXECUTOR"
EXAMPLES = "distributed:Client, mpi4py.futures:MPIPoolExecutor or concurrent.futures:ProcessPoolExecutor"
CHUNKS = 64  # at least, for the sake of many machines, where that leaves each LEAST pieces
LEAST, MOST = 16, 256  # pieces in a chunk
AHEAD = 128  # chunks that may be done before the oldest one is
IDLE = 20.0  # seconds

_lock = threading.Lock()
_waiting: list[tuple[Seat, tuple[bytes, float], float]] = []  # since when


def installed() -> dict[str, str]:
    """The versions of our readers and of the libraries that read and tokenize, on this machine."""
    return {"the hub's readers": readings.version(), **versions()}


@dataclass(frozen=True)
class Machines:
    """An executor, and what each of its machines must see and have installed to do the same work as this one."""

    executor: Executor
    versions: Mapping[str, str] = field(default_factory=installed)
    paths: tuple[Path, ...] = ()

    def seeing(self, path: Path) -> Self:
        """These machines, which must see `path` too."""
        return replace(self, paths=(*self.paths, path))


@contextmanager
def chosen() -> Iterator[Executor | None]:
    """The executor that SWAPTUNES_EXECUTOR=MODULE:CALLABLE names, until the block ends; None where it names none.

    The callable takes no arguments and returns an executor, or something with `get_executor()`, as Dask's Client is.
    It stands in the environment and in no file of hyper-parameters: it says where, never what, and a file that somebody
    shares must not name code to run.
    """
    name = os.environ.get(VARIABLE, "")
    if not name:
        yield None
        return
    make = _named(name)
    try:
        made = make()
    except Exception as error:  # a scheduler that does not answer, a class that wants arguments
        raise HubError(f"{VARIABLE}={name} cannot be made ({reason(error)})") from error
    executor = made.get_executor() if callable(getattr(made, "get_executor", None)) else made
    if not callable(getattr(executor, "submit", None)):
        raise HubError(f"{VARIABLE}={name} makes a {type(made).__name__}; expected a concurrent.futures.Executor")
    try:
        yield cast(Executor, executor)
    finally:
        executor.shutdown(wait=False)
        if made is not executor:
            made.close()


def _named(name: str) -> Callable[[], Any]:
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise HubError(f"{VARIABLE} is {name!r}; expected MODULE:CALLABLE, such as {EXAMPLES}")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise HubError(f"{VARIABLE} is {name!r}, and {module_name} cannot be imported here ({error})") from error
    if not callable(getattr(module, attribute, None)):
        raise HubError(f"{module_name} has no callable {attribute!r}.{did_you_mean(attribute, dir(module))}")
    return cast(Callable[[], Any], getattr(module, attribute))


def spread(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    machines: Machines | None,
    workers: int,
    seconds: float,
    megabytes: int,
    progress: str = "",
    warm: Callable[[], Any] | None = None,
) -> Iterator[tuple[Task, Result | Failure]]:
    """As `map_pieces`, on `machines` where there are some, which then say how many workers there are.

    HubError when a machine lacks what it needs, or when the executor loses a chunk, whose pieces it names.
    """
    if machines is None:
        yield from map_pieces(
            function, tasks, workers=workers, seconds=seconds, megabytes=megabytes, progress=progress, warm=warm
        )
        return
    size = min(MOST, max(LEAST, len(tasks) // CHUNKS))
    chunks = iter([tasks[start : start + size] for start in range(0, len(tasks), size)])
    waiting: deque[tuple[Sequence[Task], Future[Any]]] = deque()
    settings: tuple[Any, ...] = (seconds, megabytes, warm, machines.versions, machines.paths)
    bar = progress_bar(progress, len(tasks))
    try:
        while True:
            for chunk in islice(chunks, AHEAD - len(waiting)):
                waiting.append((chunk, _submitted(machines.executor, function, chunk, *settings)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            for pair in zip(chunk, _result(chunk, future), strict=True):
                bar.update()
                yield pair
    finally:
        for _, future in waiting:
            future.cancel()
        bar.close()


def run_chunk(
    function: Callable[[Task], Result],
    chunk: Sequence[Task],
    seconds: float,
    megabytes: int,
    warm: Callable[[], Any] | None,
    expected: Mapping[str, str],
    paths: Sequence[Path],
) -> list[Result | Failure]:
    """Runs a chunk in a subprocess on the machine where the executor put us; HubError when it is not fit for that."""
    here = socket.gethostname()
    for path in paths:
        if not path.exists():
            raise HubError(f"the machine {here} does not see {path}; give all machines the same file system")
    found = installed()
    for name in sorted({*expected, *found}):
        if found.get(name) != expected.get(name):
            raise HubError(
                f"the machine {here} has {name} in version {found.get(name)}; expected {expected.get(name)}, as where"
                " the preparation was started"
            )
    with _kept(greeting(function, warm, megabytes), seconds) as seat:
        return [seat.run(task) for task in chunk]


@contextmanager
def _kept(opening: bytes, seconds: float) -> Iterator[Seat]:
    """A seat whose process waits IDLE seconds for the next chunk, since it may take longer to start than to run one."""
    key = opening, seconds
    with _lock:
        mine = next((seat for seat, other, _ in reversed(_waiting) if other == key), None) or Seat(*key)
        _waiting[:] = [entry for entry in _waiting if entry[0] is not mine]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(watch_interval(seconds)):
            mine.look()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield mine
    except BaseException:
        mine.close()
        raise
    else:
        with _lock:
            _waiting.append((mine, key, time.monotonic()))
        closing = threading.Timer(IDLE, _close_idle)
        closing.daemon = True
        closing.start()
    finally:
        ended.set()


def _close_idle() -> None:
    with _lock:
        old = [entry for entry in _waiting if time.monotonic() - entry[2] >= IDLE]
        _waiting[:] = [entry for entry in _waiting if entry not in old]
    for seat, _, _ in old:
        seat.close()


def _submitted(executor: Executor, function: Callable[[Any], Any], chunk: Sequence[Any], *settings: Any) -> Future[Any]:
    try:
        future: Any = executor.submit(run_chunk, function, chunk, *settings)
    except Exception as error:
        raise _lost(chunk, reason(error)) from error
    if not callable(getattr(future, "result", None)):
        raise _lost(chunk, f"submit gives a {type(future).__name__}; expected a future")
    return cast("Future[Any]", future)


def _result(chunk: Sequence[Any], future: Future[Any]) -> list[Any]:
    try:
        found = future.result()
    except HubError:
        raise
    except (Exception, SystemExit) as error:
        raise _lost(chunk, reason(error)) from error
    if not isinstance(found, list) or len(found) != len(chunk):
        what = counted(len(found), "result") if isinstance(found, list) else f"a {type(found).__name__}"
        raise _lost(chunk, f"it gives {what}; expected {len(chunk)}")
    return found


def _lost(chunk: Sequence[Any], why: str) -> HubError:
    first, last = (getattr(task, "path", task) for task in (chunk[0], chunk[-1]))
    return HubError(
        f"the executor lost the {counted(len(chunk), 'piece')} from {first} to {last} ({why}); all before them are"
        " kept, and the same command goes on from there"
    )
