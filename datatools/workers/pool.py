"""Runs a function over many tasks in worker processes, so that no file can crash, hang or fill the hub.

A worker is a fresh interpreter that imports only what the function needs. It does not run the caller's main module
again, so any program may start one. One thread of ours looks after each worker, and one watches the limits of all.
"""

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, TypeVar

from datatools.workers.process import WorkerProcess

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 256  # tasks that may be done before the oldest one is
FEW, PATIENCE = 64, 1.0  # so few tasks may be done, in so many seconds, before a second worker could help


@dataclass(frozen=True)
class Failure:
    """Why a task has no result, in one line; `limited` when larger limits of time or memory might give one."""

    reason: str
    limited: bool = False


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def map_pieces(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    seconds: float,
    megabytes: int,
    progress: str = "",
    warm: Callable[[], Any] | None = None,
) -> Iterator[tuple[Task, Result | Failure]]:
    """Yields (task, result or Failure) in the order of the tasks.

    `function` and `warm` are importable functions or partials of such; `warm` runs once in each worker, outside the
    limit of `seconds` per task. An exception, a crash, a task too slow or too large becomes that task's Failure.
    `workers` 0: one per processor. `progress` labels a bar on stderr; empty: none. HubError where `warm` raises a
    ValueError.
    """
    total = len(tasks) if isinstance(tasks, Sized) else None
    count = workers or processors()
    opening = greeting(function, warm, megabytes)
    seats = [Seat(opening, seconds) for _ in range(count if total is None else min(count, total))]
    patience = PATIENCE if total is not None and total <= FEW else 0.0
    pool = _Pool(seats, iter(tasks), watch_interval(seconds), patience)
    bar = progress_bar(progress, total)
    try:
        for pair in pool.results():
            bar.update()
            yield pair
    finally:
        pool.stop()
        bar.close()


def progress_bar(label: str, total: int | None) -> Any:
    """A bar of pieces on stderr; none where `label` is empty."""
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()  # in a log file each state of the bar is a line, so there are fewer
    return tqdm(total=total, desc=label, unit="piece", disable=not label, mininterval=15 if quiet else 0.2)


class Seat:
    """One worker process at a time, replaced when it is gone. One thread calls `run`; any may `look` and `kill`."""

    def __init__(self, greeting: bytes, seconds: float) -> None:
        self._greeting, self._seconds = greeting, seconds
        self._worker: WorkerProcess | None = None
        self._stopped = False

    def run(self, task: Any) -> Any:
        """One task's result or Failure. A crash may be the late work of an earlier task: it takes two to blame this."""
        for _ in range(2):
            ending, value = self._seated().ask(task, self._seconds)
            if ending != "crashed" or self._stopped:
                break
        return value if ending == "done" else Failure(value, limited=ending == "limited")

    def look(self) -> None:
        """Ends the process when its task is over a limit."""
        worker = self._worker
        if worker is not None:
            worker.look()

    def kill(self) -> None:
        """Ends the process, whatever it is doing, without blaming a task."""
        self._stopped = True
        worker = self._worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """Ends the process and frees what it held; the thread of `run` calls it."""
        if self._worker is not None:
            self._worker.close()

    def _seated(self) -> WorkerProcess:
        worker = self._worker
        if worker is not None and worker.alive():
            return worker
        if worker is not None:
            worker.close()
        worker = self._worker = WorkerProcess(self._greeting)
        if self._stopped:  # nobody saw it in time to kill it
            worker.kill()
        worker.start()
        return worker


def greeting(function: Callable[..., Any], warm: Callable[[], Any] | None, megabytes: int) -> bytes:
    """What a worker process is told first; TypeError for a function that it could not import."""
    try:
        return pickle.dumps(megabytes) + pickle.dumps((function, warm))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(f"workers need an importable function: {error}") from error


class _Pool:
    """The threads, what they still have to do and what they have done."""

    def __init__(self, seats: list[Seat], tasks: Iterator[Any], interval: float, patience: float) -> None:
        self._seats, self._tasks, self._interval, self._patience = seats, tasks, interval, patience
        self._condition = threading.Condition()
        self._given = self._taken = 0
        self._done: dict[int, tuple[Any, Any]] = {}
        self._error: BaseException | None = None
        self._stopped = self._all_given = False
        self._threads = [threading.Thread(target=self._look_after, args=(seat,), daemon=True) for seat in seats]

    def results(self) -> Iterator[tuple[Any, Any]]:
        """(task, result or Failure) in order; raises what stopped a thread."""
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            with self._condition:
                while self._taken not in self._done and self._error is None and self._busy():
                    self._condition.wait(0.1)
                if self._error is not None:
                    raise self._error
                if self._taken not in self._done:
                    return
                pair = self._done.pop(self._taken)
                self._taken += 1
                self._condition.notify_all()
            yield pair

    def stop(self) -> None:
        """Ends all workers, whatever they are doing."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        for seat in self._seats:
            seat.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)

    def _busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _look_after(self, seat: Seat) -> None:
        """A thread's life: takes tasks and has its worker do them."""
        try:
            if seat is not self._seats[0]:
                self._wait_for_the_first()
            while (numbered := self._next()) is not None:
                number, task = numbered
                answer = seat.run(task)
                with self._condition:
                    self._done[number] = task, answer
                    self._condition.notify_all()
        except BaseException as error:
            with self._condition:
                self._error = self._error or error
        finally:
            seat.close()
            with self._condition:
                self._condition.notify_all()

    def _wait_for_the_first(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._all_given, self._patience)

    def _next(self) -> tuple[int, Any] | None:
        with self._condition:
            while not self._stopped and self._given - self._taken >= AHEAD:
                self._condition.wait()
            if self._stopped or self._error is not None:
                return None
            try:
                task = next(self._tasks)
            except StopIteration:
                self._all_given = True
                self._condition.notify_all()
                return None
            self._given += 1
            return self._given - 1, task

    def _watch(self) -> None:
        while not self._stopped and self._busy():
            for seat in self._seats:
                seat.look()
            time.sleep(self._interval)


def watch_interval(seconds: float) -> float:
    """Seconds between two looks at workers whose limit is `seconds`."""
    return min(0.05, seconds / 4)
