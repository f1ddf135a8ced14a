"""Runs a function over many tasks in worker processes, so that no file can crash, hang or fill the hub.

A worker is a fresh interpreter that imports only what the function needs. It does not run the caller's main module again,
so any program may start one. One thread of ours looks after each worker, and one watches the limits of all.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import HubError
from core.log import logger

Task = TypeVar("Task")
Result = TypeVar("Result")

START_SECONDS = 300.0  # for imports and `warm`, which may build a tokenizer on a cold disk
MOST_OUTPUT = 64 << 20  # bytes that one task may print
AHEAD = 256  # tasks that may be done before the oldest one is


@dataclass(frozen=True)
class Failure:
    """Why a task has no result, in one line."""

    reason: str


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

    `function` and `warm` are importable functions or partials of such; `warm` runs once in each worker, outside the limit
    of `seconds` per task. An exception, a crash, a task too slow or too large becomes that task's Failure. `workers` 0: one
    per processor. `progress` labels a bar on stderr; empty: none. HubError where `warm` raises a ValueError.
    """
    total = len(tasks) if hasattr(tasks, "__len__") else None
    count = workers or processors()
    pool = _Pool(function, warm, iter(tasks), seconds, megabytes, count if total is None else min(count, total))
    bar = _bar(progress, total)
    try:
        for task, result in pool.results():
            bar.update()
            yield task, result
    finally:
        pool.stop()
        bar.close()


def _bar(label: str, total: int | None) -> Any:
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()  # in a log file a bar is a line, so it says less
    return tqdm(total=total, desc=label, unit="piece", disable=not label, mininterval=15 if quiet else 0.2, leave=True)


class _Pool:
    """The threads, what they still have to do and what they have done."""

    def __init__(
        self, function: Any, warm: Any, tasks: Iterator[Any], seconds: float, megabytes: int, count: int
    ) -> None:
        try:
            self.greeting = pickle.dumps(megabytes) + pickle.dumps((function, warm))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"workers need an importable function: {error}") from error
        self.tasks, self.seconds, self.megabytes = tasks, seconds, megabytes
        self.condition = threading.Condition()
        self.given = self.taken = 0
        self.done: dict[int, tuple[Any, Any]] = {}
        self.error: BaseException | None = None
        self.stopped = False
        self.workers: list[_Worker | None] = [None] * count
        self.threads = [threading.Thread(target=self._look_after, args=(i,), daemon=True) for i in range(count)]
        self.watch = threading.Thread(target=self._watch, daemon=True)

    def results(self) -> Iterator[tuple[Any, Any]]:
        for thread in (*self.threads, self.watch):
            thread.start()
        while True:
            with self.condition:
                while self.taken not in self.done:
                    if self.error is not None:
                        raise self.error
                    if not any(thread.is_alive() for thread in self.threads):
                        if self.taken in self.done:
                            break
                        return
                    self.condition.wait(0.1)
                pair = self.done.pop(self.taken)
                self.taken += 1
                self.condition.notify_all()
            yield pair

    def stop(self) -> None:
        """Ends all workers, whatever they are doing."""
        with self.condition:
            self.stopped = True
            self.condition.notify_all()
        for worker in self.workers:
            if worker is not None:
                worker.kill("")
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(5)

    def _look_after(self, place: int) -> None:
        try:
            while (task := self._next()) is not None:
                answer = self._run(place, task[1])
                with self.condition:
                    self.done[task[0]] = (task[1], answer)
                    self.condition.notify_all()
        except BaseException as error:
            with self.condition:
                self.error = self.error or error
                self.condition.notify_all()
        finally:
            worker = self.workers[place]
            if worker is not None:
                worker.kill("")

    def _next(self) -> tuple[int, Any] | None:
        with self.condition:
            while not self.stopped and self.given - self.taken >= AHEAD:
                self.condition.wait()
            if self.stopped or self.error is not None:
                return None
            try:
                task = next(self.tasks)
            except StopIteration:
                return None
            self.given += 1
            return self.given - 1, task

    def _run(self, place: int, task: Any) -> Any:
        for attempt in (1, 2):  # a crash may be the late consequence of an earlier task: only a second one is this task's
            worker = self.workers[place]
            if worker is None or not worker.alive():
                worker = self.workers[place] = _Worker(self.greeting, self.megabytes)
                if self.stopped:
                    return Failure("stopped")
            answer, crashed = worker.ask(task, self.seconds)
            if not (crashed and attempt == 1) or self.stopped:
                return answer
        raise AssertionError("unreachable")

    def _watch(self) -> None:
        while not self.stopped and any(thread.is_alive() for thread in self.threads):
            for worker in self.workers:
                if worker is not None:
                    worker.look()
            time.sleep(min(0.05, self.seconds / 4))


class _Worker:
    """One process, as its thread and the watch see it."""

    def __init__(self, greeting: bytes, megabytes: int) -> None:
        path = [entry or os.getcwd() for entry in sys.path]
        code = f"import sys; sys.path[:] = {path!r}; from datatools.worker import serve; serve()"
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        self.megabytes = megabytes
        self.lock = threading.Lock()
        self.deadline: float | None = None
        self.verdict: str | None = None  # why we killed it
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **threads},
            start_new_session=True,  # Ctrl-C on the terminal is for us alone
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.to, self.fro = self.process.stdin, self.process.stdout
        kind, why, _, _ = self._exchange(greeting, START_SECONDS) or ("dead", self._epitaph(), "", False)
        if kind == "refused":
            self.kill("")
            raise HubError(why)
        if kind != "ready" and self.verdict != "":
            self.kill("")
            raise RuntimeError(f"a worker process cannot start: {why}")

    def ask(self, task: Any, seconds: float) -> tuple[Any, bool]:
        """The result or the Failure of one task, and whether the process died of itself on it."""
        answer = self._exchange(pickle.dumps(task), seconds)
        if answer is None:
            return Failure(self._epitaph()), self.verdict is None
        kind, value, output, worn = answer
        if output.strip():
            logger.debug("printed while reading %s: %s", task, " ".join(output.split()))
        if worn:
            self.kill("")
            if kind == "done":  # the system let it pass the limit; a result is a result
                logger.debug("%s took more than %d MB", task, self.megabytes)
        return (value if kind == "done" else Failure(value)), False

    def alive(self) -> bool:
        return self.verdict is None and self.process.poll() is None

    def kill(self, verdict: str) -> None:
        """Ends the process and frees its pipes once its thread has let go of them."""
        with self.lock:
            if self.verdict is None:
                self.verdict = verdict
            if self.process.poll() is None:
                self.process.kill()
        if verdict == "" and threading.current_thread().name != "watch":
            self.process.wait()

    def look(self) -> None:
        """Kills the process when it is over a limit."""
        with self.lock:
            deadline, since = self.deadline, self.seconds if self.deadline is not None else 0.0
        if deadline is None:
            return
        if time.monotonic() > deadline:
            self._judge(deadline, f"takes longer than {since:g} s")
        elif os.fstat(self.log.fileno()).st_size > MOST_OUTPUT:
            self._judge(deadline, f"prints more than {MOST_OUTPUT >> 20} MB")

    def _judge(self, deadline: float, verdict: str) -> None:
        with self.lock:
            if self.deadline == deadline:  # still the same task
                self.verdict = verdict
                self.process.kill()

    def _exchange(self, message: bytes, seconds: float) -> tuple[str, Any, str, bool] | None:
        """Sends one message and waits for the answer; None when the process died instead."""
        with self.lock:
            self.seconds = seconds
            self.deadline = time.monotonic() + seconds
        try:
            self.to.write(message)
            self.to.flush()
            answer: tuple[str, Any, str, bool] = pickle.load(self.fro)
            return answer
        except (OSError, EOFError, pickle.UnpicklingError, ValueError):
            return None
        finally:
            with self.lock:
                self.deadline = None

    def _epitaph(self) -> str:
        """Why there is no answer, from the way the process ended and the last that it printed."""
        code = self.process.wait()
        if self.verdict:
            return self.verdict
        size = os.fstat(self.log.fileno()).st_size
        self.log.seek(max(0, size - 2000))
        printed = self.log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")[:200]
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            how = f"kills the reading process ({name})"
        else:
            how = f"ends the reading process (exit code {code})"
        return f"{how}: {last}" if last else how
