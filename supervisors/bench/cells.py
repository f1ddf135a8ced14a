"""One measured figure of one model at one setting, and how several models are measured side by side."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.log import warn_once
from supervisors.bench.worker import MATRIX, Lost, Worker


@dataclass
class Cell:
    """What was measured: `samples` are tokens a second, for the matrix rate FLOP a second.

    `kind` is train, decode or matrix; `length` the row or the context that was asked for and `measured` the one that
    was reached (0: none); `peak_bytes` belongs to a training step of a fresh process, else None.
    """

    kind: str
    subject: str
    precision: str
    batch: int
    length: int
    measured: int = 0
    samples: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    limited: str = ""
    kernel: str = ""
    operators: list[tuple[str, float]] = field(default_factory=list)
    best_by: str = ""  # of the matrix rate: library and size
    prepared: float = 0.0  # seconds of warming up, or of reading the prompt
    spent: float = 0.0  # seconds of the samples

    @property
    def median(self) -> float | None:
        """Of the samples; None without any."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def whole(self) -> bool:
        """Whether it was measured as asked."""
        return bool(self.samples) and self.measured == self.length

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def start(workers: Iterable[Worker], say: Callable[[str], None]) -> dict[Worker, dict[str, Any]]:
    """What each of the processes says of itself; they import and build at the same time, before anything is timed.

    One that fails is closed, left out and said.
    """
    workers = list(workers)
    for worker in workers:
        worker.tell("about")
    alive = {}
    for worker in workers:
        try:
            alive[worker] = worker.hear()
        except Lost as error:
            worker.close()
            say(f"{worker.spec.name} is left out: {error}")
    return alive


def rounds(pairs: Sequence[tuple[Worker, Cell]], repeats: int, budget: float, tick: Callable[[str], None]) -> None:
    """Samples every cell `repeats` times, in rounds over all, each round beginning one further.

    So a machine that drifts hurts all alike. A cell that has taken `budget` seconds is sampled no more.
    """
    for turn in range(repeats):
        at = turn % max(1, len(pairs))
        for worker, cell in [*pairs[at:], *pairs[:at]]:
            if cell.limited.startswith("failed") or (cell.samples and cell.spent > budget):
                continue
            tick(f"{cell.subject}: {cell.kind}, {cell.length} tokens, round {turn + 1}")
            try:
                if worker.spec.name == MATRIX:
                    rates = worker.ask("matrix.sample", precision=cell.precision)
                    name = max(rates, key=rates.get)
                    if not cell.samples or rates[name] > max(cell.samples):
                        cell.best_by = name
                    cell.samples.append(rates[name])
                    continue
                answer = worker.ask(f"{cell.kind}.sample", **_context(cell))
            except Lost as error:
                cell.limited = f"failed: {error}"
                continue
            cell.samples.append(answer["tokens_per_second"])
            cell.spent += answer["seconds"]


def prepare(worker: Worker, cell: Cell, *, fresh: bool, **arguments: Any) -> None:
    """Warms the model up for the cell; what went wrong stands in `limited`."""
    try:
        answer = worker.ask(f"{cell.kind}.prepare", **arguments)
    except Lost as error:
        cell.limited = f"failed: {error}"
        return
    for line in answer["said"]:
        warn_once(line)
    cell.measured, cell.limited, cell.prepared = answer["length"], answer["limited"], answer["seconds"]
    cell.samples.extend(answer["tokens_per_second"])
    cell.spent = sum(cell.batch * cell.measured / rate for rate in cell.samples)
    cell.peak_bytes = answer["peak_bytes"] if fresh else None


def profile(worker: Worker, cell: Cell) -> None:
    """Which operators the time went to."""
    if cell.measured and not cell.limited.startswith("failed"):
        try:
            cell.operators = worker.ask(f"{cell.kind}.profile", **_context(cell))
        except Lost as error:
            warn_once(f"{cell.subject}: no profile: {error}")


def _context(cell: Cell) -> dict[str, int]:
    """Which of the prompts that a process has read is meant."""
    return {"length": cell.length} if cell.kind == "decode" else {}
