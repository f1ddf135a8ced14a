"""Pieces spread by executors: the same results in the same order, and every loss named."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from datatools.preparing.cache import prepare
from datatools.workers import executors
from datatools.workers.executors import Machines, chosen, spread
from datatools.workers.pool import Failure
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from tests.test_workers import gone
from tests.toy_tasks import act, warm_badly
from tests.toy_tokenizer import build
from tests.tunes import write

LIMITS: dict[str, Any] = {"workers": 1, "seconds": 1.0, "megabytes": 1024}
DATA = DataHParams(workers=2, seconds_per_file=20, megabytes_per_worker=1024)


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_come_in_order_and_what_kills_a_worker_is_named(
    threads: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "LEAST", 3)
    tasks = ["a", "b", "crash", "c", "refuse it", "hang", "d"]
    found = list(spread(act, tasks, machines=Machines(threads), **LIMITS))
    assert [task for task, _ in found] == tasks
    results = dict(found)
    assert [results[task] for task in ("a", "b", "c", "d")] == ["a", "b", "c", "d"]
    assert "SIGSEGV" in results["crash"].reason
    assert results["refuse it"] == Failure("it")
    assert results["hang"] == Failure("takes longer than 1 s", limited=True)


def test_a_subprocess_serves_many_chunks_and_ends_when_no_more_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "LEAST", 1)
    limits = LIMITS | {"seconds": 60.0}  # a machine under load may take more than one to start
    found = []
    with ThreadPoolExecutor(1) as one:
        for idle, tasks in ((600.0, ["pid 1", "pid 2"]), (0.1, ["pid 3"])):
            monkeypatch.setattr(executors, "IDLE", idle)
            found += [pid for _, pid in spread(act, tasks, machines=Machines(one), **limits)]
    assert len(found) == 3 and len(set(found)) == 1 and found[0] != os.getpid()
    assert gone(found[0])


@pytest.mark.parametrize(("tasks", "sizes"), [(20, {16, 4}), (1024, {16}), (6400, {100}), (20_000, {256, 32})])
def test_a_corpus_is_dealt_out_in_64_parts_that_are_neither_tiny_nor_huge(tasks: int, sizes: set[int]) -> None:
    given: list[int] = []

    class Dealt(ThreadPoolExecutor):
        def submit(self, function: Any, *values: Any, **settings: Any) -> Any:
            given.append(len(values[1]))
            return settled([-number for number in values[1]])

    found = spread(act, range(tasks), machines=Machines(Dealt(1)), **LIMITS)  # type: ignore[arg-type,var-annotated]
    assert list(found) == [(number, -number) for number in range(tasks)] and set(given) == sizes


def test_only_so_many_chunks_wait(threads: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of any size has no more in the executor than AHEAD chunks, of MOST pieces at the most."""
    given = []

    class Counting(ThreadPoolExecutor):
        def submit(self, function: Any, *values: Any, **settings: Any) -> Any:
            given.append(len(values[1]))
            return threads.submit(lambda chunk: [f"<{task}>" for task in chunk], values[1])

    monkeypatch.setattr(executors, "AHEAD", 3)
    results = spread(act, [str(number) for number in range(100_000)], machines=Machines(Counting(1)), **LIMITS)
    assert [next(results) for _ in range(600)] == [(str(number), f"<{number}>") for number in range(600)]
    assert given == [executors.MOST] * 5
    results.close()  # type: ignore[attr-defined]


def processes() -> Executor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def dask() -> Any:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install swaptunes[dask]")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    )
    return distributed.Client(cluster)


@pytest.mark.parametrize("make", [processes, dask])
def test_the_store_is_the_same_wherever_it_was_made(
    make: Callable[[], AbstractContextManager[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "LEAST", 7)
    write(tmp_path / "music", range(16))
    (tmp_path / "music" / "bad.mid").write_bytes(b"MThd")
    stores = []
    with make() as pool:
        for home, executor in (("home", None), ("away", getattr(pool, "get_executor", lambda: pool)())):
            monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / home))
            stores.append(prepare(Folder(str(tmp_path / "music")), build, "toy", DATA, False, executor).folder)
    files = [{path.name: path.read_bytes() for path in store.rglob("*") if path.is_file()} for store in stores]
    assert stores[0].name == stores[1].name and files[0] == files[1]
    assert b"bad.mid" in files[0]["failures.txt"]


def test_pieces_that_an_executor_loses_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """From within a chunk's subprocess the executor's own process is killed; what came before is there."""
    monkeypatch.setattr(executors, "LEAST", 2)
    results = spread(act, ["a", "b", "orphan", "c", "d"], machines=Machines(ProcessPoolExecutor(1)), **LIMITS)
    assert [next(results), next(results)] == [("a", "a"), ("b", "b")]
    with pytest.raises(
        HubError, match=r"lost the 2 pieces from orphan to c \(BrokenProcessPool: .* goes on from there"
    ):
        next(results)


def refuse() -> None:
    raise RuntimeError("cannot schedule\nnew futures")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refuse, "RuntimeError: cannot schedule new futures"),
        (lambda: 3, "submit gives a int; expected a future"),
        (lambda: settled(None), "gives a NoneType; expected 3"),
        (lambda: settled(["a"]), "gives 1 result; expected 3"),
        (lambda: settled(["a"] * 4), "gives 4 results; expected 3"),
    ],
)
def test_an_executor_that_does_other_things_ends_in_one_line(answer: Callable[[], Any], words: str) -> None:
    class Odd(ThreadPoolExecutor):
        def submit(self, *values: Any, **settings: Any) -> Any:
            return answer()

    with pytest.raises(HubError, match=f"lost the 3 pieces from a to c .*{words}") as caught:
        list(spread(act, ["a", "b", "c"], machines=Machines(Odd(1)), **LIMITS))
    assert "\n" not in str(caught.value)


def settled(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def test_machines_that_lack_something_say_what(threads: Executor, tmp_path: Path) -> None:
    def run(machines: Machines, **more: Any) -> None:
        list(spread(act, ["a"], machines=machines, **LIMITS, **more))

    with pytest.raises(HubError, match=r"does not see .*gone; give all machines the same file system"):
        run(Machines(threads).seeing(tmp_path / "gone"))
    others = {**executors.installed(), "symusic": "0.0.1"}
    with pytest.raises(HubError, match=r"has symusic in version \d.*; expected 0.0.1"):
        run(Machines(threads, others))
    less = {name: version for name, version in executors.installed().items() if name != "symusic"}
    with pytest.raises(HubError, match=r"has symusic in version \d.*; expected None"):
        run(Machines(threads, less))
    with pytest.raises(HubError, match=r"^the tokenizer's folder is gone$"):
        run(Machines(threads), warm=warm_badly)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("distributed", "expected MODULE:CALLABLE, such as distributed:Client"),
        (":Client", "expected MODULE:CALLABLE"),
        ("no_such_engine:Client", "no_such_engine cannot be imported here"),
        ("concurrent.futures:ThreadPoolExecuter", 'Did you mean "ThreadPoolExecutor"'),
        ("builtins:dict", "makes a dict; expected a concurrent.futures.Executor"),
    ],
)
def test_a_name_that_makes_no_executor_is_one_line(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(executors.VARIABLE, name)
    with pytest.raises(HubError, match=r"SWAPTUNES_EXECUTOR|concurrent.futures") as caught, chosen():
        pass
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_environment_names_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "music", range(4))
    monkeypatch.setenv(executors.VARIABLE, "tests.test_executor:nobody")
    with pytest.raises(HubError, match="nobody works today"):
        prepare(Folder(str(tmp_path / "music")), build, "toy", DATA, False)
    monkeypatch.delenv(executors.VARIABLE)
    with chosen() as executor:
        assert executor is None


class Nobody(Executor):
    def submit(self, *_: Any, **__: Any) -> Any:
        raise HubError("nobody works today")


def nobody() -> Executor:
    return Nobody()


class Engine(Executor):
    ended: list[object] = []  # noqa: RUF012 (all of them, in order)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended.append(wait)


class Client:
    """As Dask's: it gives an executor, and is closed by itself."""

    def get_executor(self) -> Executor:
        return Engine()

    def close(self) -> None:
        Engine.ended.append("client")


@pytest.mark.parametrize(("name", "ended"), [("Engine", [False]), ("Client", [False, "client"])])
def test_an_executor_that_was_made_is_ended(name: str, ended: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for, and also where the work fails."""
    monkeypatch.setattr(Engine, "ended", [])
    monkeypatch.setenv(executors.VARIABLE, f"tests.test_executor:{name}")
    with pytest.raises(RuntimeError, match="work"), chosen() as engine:
        assert type(engine).__name__ == "Engine" and not Engine.ended
        raise RuntimeError("work")
    assert Engine.ended == ended
