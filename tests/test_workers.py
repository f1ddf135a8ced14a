"""No task can crash, hang or fill the hub, and none is lost or blamed for another."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from datatools.workers import pool
from datatools.workers.pool import AHEAD, Failure, map_pieces, processors, watch_interval
from datatools.workers.worker import reason
from tests.toy_tasks import act, warm_badly, warm_wrongly

ROOT = Path(__file__).parent.parent
LIMITS: dict[str, Any] = {"workers": 2, "seconds": 5.0, "megabytes": 1024}


def gone(pid: int, patience: float = 10.0) -> bool:
    """Whether a process ends within so many seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_every_task_ends_in_a_result_or_a_reason(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="swaptunes")
    expected: list[tuple[str, Any]] = [
        ("fine", "fine"),
        ("crash", "kills the process that reads it (SIGSEGV): native words before the end"),
        ("refuse a tune\nof two lines", "a tune of two lines"),
        ("break it", "KeyError: 'it' (toy_tasks.py:"),
        ("exit", "ends the process that reads it (exit code 7)"),
        ("quit", "SystemExit: 7 (toy_tasks.py:"),
        ("print", "print"),
        ("lambda x", "pickle"),
        ("large", bytes(5 << 20)),
        ("after all", "after all"),
    ]
    if sys.platform == "linux":
        expected.insert(5, ("hog", "needs more than 1024 MB of memory"))
    found = list(map_pieces(act, [task for task, _ in expected], **LIMITS))
    assert [task for task, _ in found] == [task for task, _ in expected]
    for (task, result), (_, wanted) in zip(found, expected, strict=True):
        if isinstance(result, Failure):
            assert wanted in result.reason and "\n" not in result.reason, task
            assert result.limited == (task == "hog")
        else:
            assert result == wanted
    assert sum(isinstance(result, Failure) for _, result in found) == len(expected) - 4
    assert capfd.readouterr() == ("", "")
    assert all(f"words {where}" in caplog.text for where in ("on stdout", "of C", "on stderr"))


def test_a_slow_task_is_ended_and_the_others_go_on() -> None:
    start = time.monotonic()
    found = dict(map_pieces(act, ["a", "hang", "b", "c"], workers=1, seconds=1.0, megabytes=1024))
    assert found == {"a": "a", "hang": Failure("takes longer than 1 s", limited=True), "b": "b", "c": "c"}
    assert time.monotonic() - start < 20


def failed(error: BaseException) -> str:
    """What is said of an error that was raised."""
    try:
        raise error
    except BaseException as caught:
        return reason(caught)


def test_an_error_is_one_line_and_named_unless_it_speaks_to_people() -> None:
    place = f"({Path(__file__).name}:{failed.__code__.co_firstlineno + 3})"
    assert failed(ValueError("two\n words")) == "two words" and failed(HubError("it is gone")) == "it is gone"
    assert failed(ValueError()) == f"ValueError {place}" and failed(KeyError("x")) == f"KeyError: 'x' {place}"
    assert reason(KeyError("x")) == "KeyError: 'x'" and failed(ValueError("x" * 999)) == "x" * 500
    assert (watch_interval(0.1), watch_interval(20.0)) == (0.025, 0.05)


def test_workers_are_as_many_as_processors_and_of_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 5}, raising=False)
    assert processors() == 3
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    asked = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
    found = map_pieces(os.getenv, asked, workers=1, seconds=60, megabytes=1024)
    assert [value for _, value in found] == ["1"] * 4


def test_as_many_workers_as_asked_for_else_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never more than tasks; only where these are few does the second worker wait for a second."""
    made: list[tuple[int, float]] = []

    class Pool:
        def __init__(self, seats: list[pool.Seat], tasks: Iterator[str], interval: float, patience: float) -> None:
            made.append((len(seats), patience))

        def results(self) -> Iterator[Any]:
            return iter(())

        def stop(self) -> None:
            pass

    monkeypatch.setattr(pool, "_Pool", Pool)
    monkeypatch.setattr(pool, "processors", lambda: 3)
    few = ["a"] * 9
    for workers, tasks in ((0, few), (2, few), (5, few[:4]), (0, iter(few[:2])), (1, ["a"] * 64), (1, ["a"] * 65)):
        list(map_pieces(act, tasks, workers=workers, seconds=5, megabytes=9))
    assert made == [(3, 1.0), (2, 1.0), (4, 1.0), (3, 0.0), (1, 1.0), (1, 0.0)]


def test_no_more_workers_than_tasks() -> None:
    found = {pid for _, pid in map_pieces(act, ["pid 1", "pid 2"], workers=16, seconds=5, megabytes=1024)}
    assert 1 <= len(found) <= 2
    assert os.getpid() not in found
    assert list(map_pieces(act, [], **LIMITS)) == []


def test_a_process_of_much_memory_keeps_its_workers() -> None:
    held = b"x" * (600 << 20)
    pids = [pid for _, pid in map_pieces(act, ["pid 1", "pid 2"], workers=1, seconds=20.0, megabytes=512)]
    assert pids[0] == pids[1] and len(held) == 600 << 20


def test_work_runs_ahead_only_so_far() -> None:
    taken = 0

    def tasks() -> Iterator[str]:
        nonlocal taken
        for taken in range(100_000):
            yield str(taken)

    results = map_pieces(act, tasks(), **LIMITS)
    for _ in range(3):
        next(results)
    time.sleep(0.5)
    assert taken <= AHEAD + 3
    results.close()  # type: ignore[attr-defined]


def test_an_abandoned_map_ends_its_workers() -> None:
    results = map_pieces(act, ["pid", *["hang"] * 5], workers=1, seconds=600, megabytes=1024)
    _, pid = next(results)
    assert isinstance(pid, int)
    results.close()  # type: ignore[attr-defined]
    assert gone(pid)


@pytest.mark.parametrize(
    ("warm", "error", "words"),
    [(warm_badly, HubError, "^the tokenizer's folder is gone$"), (warm_wrongly, RuntimeError, "a bug")],
)
def test_workers_that_cannot_start_say_why(warm: Callable[[], None], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        list(map_pieces(act, ["a"], warm=warm, **LIMITS))


def test_a_function_that_no_worker_can_import_is_refused() -> None:
    with pytest.raises(TypeError, match="importable"):
        list(map_pieces(lambda task: task, ["a"], **LIMITS))


def test_errors_of_the_task_list_come_through() -> None:
    def tasks() -> Iterator[str]:
        yield "a"
        raise HubError("the list ends in smoke")

    with pytest.raises(HubError, match="smoke"):
        list(map_pieces(act, tasks(), **LIMITS))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupt_ends_cleanly() -> None:
    """From a script on standard input with no main guard: the parent alone reports, and no worker outlives it."""
    script = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
sys.path.insert(0, {str(ROOT)!r})
from datatools.workers.pool import map_pieces
from tests.toy_tasks import act
try:
    for task, result in map_pieces(act, ["pid 1", *["hang"] * 9], workers=2, seconds=600, megabytes=1024, progress="x"):
        print(result, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(script)
        process.stdin.close()
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == "interrupted\n"
        assert "Traceback" not in process.stderr.read()
    assert gone(pid)
