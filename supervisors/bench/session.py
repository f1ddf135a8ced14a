"""The measurements in their order: training at one setting, training against length, decoding against context."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tqdm import tqdm

from core.words import counted
from hparams.bench import BenchHParams
from supervisors.bench.cells import Cell, prepare, profile, rounds, start
from supervisors.bench.models import Model
from supervisors.bench.page.rows import CACHED, EARLY, LATE
from supervisors.bench.worker import MATRIX, Worker, preload

BATCHES = (1, 16)  # rows that are decoded at once
_CURVE_REPEATS = 3
# Seconds of samples after which a figure gets no more: those that are compared, and points of the curves.
_BUDGET, _BUDGET_CURVE = 15.0, 4.0
# Tokens in all rows of a cache: what attention keeps of more would fill a small machine.
_MOST_CACHED = 65_536


class Session:
    """Fills `cells`; whatever stops it, what was measured stays there."""

    def __init__(self, settings: BenchHParams, models: list[Model], precisions: list[str]) -> None:
        self.settings, self.models, self.precisions = settings, models, precisions
        self.cells: list[Cell] = []
        self.notes: list[str] = []
        self.parameters: dict[str, int] = {}  # as counted in the built models
        self.threads = settings.threads
        self._kept: list[Worker] = []
        self._kernels: dict[str, str] = {}  # of the models that could be built
        self._bar = tqdm(disable=True)

    def measure(self) -> None:
        """Everything, with progress."""
        with tqdm(total=self._total(), desc="bench", unit="figure", dynamic_ncols=True) as self._bar:
            preload()
            try:
                for precision in self.precisions:
                    self._train(precision)
                self._sweep()
                self._decode()
            finally:
                self._end()

    def _train(self, precision: str) -> None:
        """Every model in a fresh process, between them the matrix rate."""
        asked = self.settings
        best = precision == self.precisions[-1]
        with self._alive((each for each in self.models if each.trains and (each.full or best)), matrix=True) as workers:
            pairs = []
            for worker in workers:
                kind = "matrix" if worker.spec.name == MATRIX else "train"
                cell = self._cell(kind, worker, precision, asked.batch, asked.length)
                if kind == "train":
                    fresh = not self.settings.quick or precision == self.precisions[0]
                    self._ready(worker, cell, fresh=fresh)
                pairs.append((worker, cell))
            fewer = min(_CURVE_REPEATS, asked.repeats)
            rounds(pairs, fewer, _BUDGET, self._say)
            pairs = [pair for pair in pairs if self._full(pair[1])]
            rounds(pairs, asked.repeats - fewer, _BUDGET, self._say)
            for worker, cell in pairs:
                if cell.kind == "train" and not asked.quick:
                    self._say(f"{cell.subject}: profile")
                    profile(worker, cell)

    def _sweep(self) -> None:
        """At equal tokens a batch, in the best precision; at four times the length in both, since both are compared."""
        asked = self.settings
        with self._alive(model for model in self.models if model.trains and model.sweeps) as workers:
            cut: set[str] = set()
            for length, precision in self._curve():
                pairs = []
                for worker in workers:
                    if not self._at(self._model(worker.spec.name), length, precision):
                        continue
                    cell = self._cell("train", worker, precision, max(1, asked.batch * asked.length // length), length)
                    if worker.spec.name in cut:
                        cell.limited = "shorter rows already took too much"
                        continue
                    self._ready(worker, cell, fresh=False)
                    if cell.limited:
                        cut.add(worker.spec.name)
                    else:
                        pairs.append((worker, cell))
                rounds(pairs, min(_CURVE_REPEATS, asked.repeats), _BUDGET_CURVE, self._say)

    def _decode(self) -> None:
        asked = self.settings
        with self._alive(model for model in self.models if model.decodes) as workers:
            for batch in BATCHES:
                pairs: list[tuple[Worker, Cell]] = []
                cut: set[str] = set()
                for length in asked.all_lengths:
                    if batch * length > _MOST_CACHED:
                        continue
                    for worker in workers:
                        model = self._model(worker.spec.name)
                        if not self._at(model, length) or (batch > 1 and not model.full):
                            continue
                        cell = self._cell("decode", worker, "fp32", batch, length)
                        if worker.spec.name in cut:
                            cell.limited = "shorter prompts already took too much"
                            continue
                        self._say(f"{cell.subject}: prompt of {length}")
                        prepare(worker, cell, fresh=False, batch=batch, length=length)
                        if cell.limited or cell.prepared > asked.limit / 2:
                            cut.add(worker.spec.name)
                        pairs.append((worker, cell))
                # Contexts take turns too: what a late token costs against an early one is a figure.
                fewer = min(_CURVE_REPEATS, asked.repeats)
                rounds(pairs, fewer, _BUDGET, self._say)
                compared = [pair for pair in pairs if pair[1].length in (asked.length, EARLY, LATE, CACHED)]
                rounds(compared, asked.repeats - fewer, _BUDGET, self._say)
                for worker, cell in pairs:
                    if cell.length == asked.length and self._full(cell) and not asked.quick:
                        profile(worker, cell)

    def _model(self, name: str) -> Model:
        return next(model for model in self.models if model.name == name)

    def _full(self, cell: Cell) -> bool:
        """Whether a cell is measured in full; the matrix rate is."""
        return cell.subject == MATRIX or self._model(cell.subject).full

    def _at(self, model: Model, length: int, precision: str = "") -> bool:
        """Whether a model has a point of the curves there: all, or every other length in the best precision alone."""
        asked = self.settings
        if model.full:
            return True
        return (length in asked.all_lengths[::2] or length == asked.length) and precision in ("", self.precisions[-1])

    def _curve(self) -> list[tuple[int, str]]:
        """Lengths and precisions of training beside the first setting."""
        asked, best = self.settings, self.precisions[-1]
        return [
            (length, precision)
            for length in asked.all_lengths
            for precision in self.precisions
            if (length != asked.length and precision == best) or length == 4 * asked.length
        ]

    def _total(self) -> int:
        trained = [model for model in self.models if model.trains]
        curve = [(model, *point) for model in trained if model.sweeps for point in self._curve()]
        contexts = [(batch, length) for batch in BATCHES for length in self.settings.all_lengths]
        return (
            len(self.precisions) * (1 + sum(model.full for model in trained))
            + sum(not model.full for model in trained)
            + sum(self._at(*point) for point in curve)
            + sum(
                model.decodes and self._at(model, length) and (batch == 1 or model.full)
                for model in self.models
                for batch, length in contexts
                if batch * length <= _MOST_CACHED
            )
        )

    @contextmanager
    def _alive(self, models: Iterable[Model], matrix: bool = False) -> Iterator[list[Worker]]:
        """Fresh processes of these models, and one of the matrix rate; they end with the block.

        A quick look has no time for that and keeps those of its first block.
        """
        specs = [model.spec for model in models]
        if matrix and specs:
            specs.insert(0, replace(specs[0], name=MATRIX, ours=True, hparams=None))
        self._say(f"starting {counted(len(specs), 'model')}")
        names = {worker.spec.name for worker in self._kept}
        workers = [Worker(spec) for spec in specs if spec.name not in names]
        self._kept += workers
        try:
            for worker, about in start(workers, self._note).items():
                self.threads = about["threads"]
                if "parameters" in about:
                    self.parameters[worker.spec.name] = about["parameters"]
                self._kernels[worker.spec.name] = about.get("kernel", "")
            asked = {spec.name for spec in specs}
            yield [worker for worker in self._kept if worker.spec.name in asked and worker.spec.name in self._kernels]
        finally:
            if not self.settings.quick:
                self._end()

    def _end(self) -> None:
        for worker in self._kept:
            worker.close()
        self._kept = []

    def _cell(self, kind: str, worker: Worker, precision: str, batch: int, length: int) -> Cell:
        cell = Cell(kind, worker.spec.name, precision, batch, length, kernel=self._kernels.get(worker.spec.name, ""))
        self.cells.append(cell)
        self._bar.update()
        return cell

    def _ready(self, worker: Worker, cell: Cell, *, fresh: bool) -> None:
        self._say(f"{cell.subject}: {cell.precision}, rows of {cell.length}")
        limit = self.settings.limit
        prepare(worker, cell, fresh=fresh, precision=cell.precision, batch=cell.batch, length=cell.length, limit=limit)

    def _say(self, what: str) -> None:
        self._bar.set_postfix_str(what)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self._bar.write(line, file=sys.stderr)
