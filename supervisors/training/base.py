"""The owner of a run: its loop, its checkpoints and its log. What is learned, and how, is a subclass's business.

Everything random is a function of (seed, step, replica), so going on from a checkpoint needs only the step.
"""

import json
import math
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from core.errors import HubError
from core.files import explained, publish_folder, recover_folder, write_text
from core.log import logger
from core.words import agree
from hparams.base import HParams
from hparams.loading import dump
from plugins.manager import Manager
from supervisors.training import environment, launched, trackers
from supervisors.training.logbook import Logbook
from supervisors.training.runfolder import RunFolder, fault, seal

if TYPE_CHECKING:
    from supervisors.training.engine import Engine

ECHO = 2.0  # seconds in which a second signal is the first one, passed on by a launcher


class Interrupted(Exception):
    """A signal asked the run to end; it was saved first."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
        self.exit_code = 128 + number


class Supervisor:
    """Trains what a subclass builds; `build_model`, `train_step`, `evaluate` and `generate` are to be changed, `train`
    is not. `TokenSupervisor` is one to begin with."""

    engine: "Engine"
    batches_per_epoch: int

    def __init__(self, hparams: HParams, manager: Manager, folder: Path) -> None:
        self.hparams = hparams
        self.manager = manager
        self.folder = RunFolder(folder)
        self.ranks = launched.start()
        self.step = 0
        self.steps = hparams.train.steps
        self.best: dict[str, float] = {}
        self.stale = 0  # validations since the best one
        self.was_finished = False  # when it was opened
        self.seconds = 0.0  # spent in steps and validations, over all continuations
        self.logbook: Logbook | None = None
        self._signal = 0
        self._signalled = 0.0  # when, on the monotonic clock

    def lock(self) -> None:
        """Takes the run's folder for these processes until they end, however they end; HubError when others have it."""
        with self.ranks.together():
            if self.ranks.first:
                self.folder.lock()

    def finished(self) -> bool:
        """Whether the run had come to its end and was concluded before."""
        return self.folder.evaluation.exists() and (self.step >= self.steps or self.stopped_early())

    def conclude(self) -> dict[str, Any]:
        """Evaluates and generates after training, or reads what an earlier call found."""
        samples = list(self.folder.samples.glob("step_*/*"))
        result: dict[str, Any]
        if self.folder.evaluation.exists():
            try:
                result = json.loads(self.folder.evaluation.read_text(encoding="utf-8"))
                if result["steps"] == self.step and samples:
                    return result
            except (ValueError, KeyError, TypeError):
                logger.warning("%s is damaged; evaluating again", self.folder.evaluation)
        result = self.evaluate()
        self.generate()
        return result

    # What a subclass brings.

    def load_data(self) -> None:
        """Prepares the data and the tokenizer; sets `self.steps` where the hyper-parameters leave it open."""
        raise NotImplementedError

    def build_model(self) -> None:
        """Builds the model and `self.engine` around it."""
        raise NotImplementedError

    def train_step(self, step: int) -> dict[str, float]:
        """One optimizer step; returns loss, lr, grad_norm and the number of tokens."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """The validation measures, `valid_loss` among them; lower is better."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, Any]:
        """All measures of the best model, written to evaluation.json."""
        raise NotImplementedError

    def open(self) -> None:
        """Takes the trained model that lies in the folder, a run or an artefact, as the best one; needs no data."""
        raise NotImplementedError

    def generate(self, out: Path | None = None) -> list[Path]:
        """Writes pieces by the best model to `out`, or among the run's samples; returns the files of music."""
        raise NotImplementedError

    def save_model(self) -> None:
        """Writes what people share, complete in itself, to model/."""
        raise NotImplementedError

    def identity(self) -> dict[str, str]:
        """Fingerprints of data and tokenizer that a checkpoint must agree with."""
        raise NotImplementedError

    # What a subclass may change.

    def save_state(self, folder: Path) -> None:
        """Writes weights and optimizers to go on from; one of several engines takes a folder of its own."""
        self.engine.save_checkpoint(folder, "engine")

    def load_state(self, folder: Path) -> None:
        """Takes what `save_state` wrote."""
        self.engine.load_checkpoint(folder, "engine")

    def prepared(self) -> str:
        """What `load_data` prepared, in words."""
        return f"the data of {self.folder.path} is ready"

    def report(self) -> str:
        """Evaluates the best model in full; what to say of it."""
        return self.summary(self.evaluate())

    def summary(self, result: dict[str, Any]) -> str:
        """The result of `evaluate` in words: every number of it, unless there is a better way."""
        told = [f"{key:<13}{value:g}" for key, value in sorted(result.items()) if isinstance(value, int | float)]
        return "\n".join([f"run          {self.folder.path}", *told])

    # The run.

    def train(self) -> None:
        """Trains from where the run stands to its last step, or until validation stops getting better."""
        trackers.check(self.hparams.train.trackers)
        self.keep_settings()
        self.load_data()
        self.keep_settings()  # with what the data decided
        self.build_model()
        self.restore()
        self.was_finished = self.finished()
        self.open_log()
        with self.signals():
            while self.step < self.steps and not self.stopped_early():
                began = time.perf_counter()
                values = self.train_step(self.step)
                self.step += 1
                self.insist_finite(values)
                values["tokens_per_second"] = values.pop("tokens") / (time.perf_counter() - began)
                self.log(values)
                if self.due(self.validation_interval()):
                    self.take(self.validate())
                self.seconds += time.perf_counter() - began
                if self.due(self.hparams.checkpoint.every or self.validation_interval()):
                    self.save()
                if self.ranks.any(self._signal > 0):
                    self.save()
                    raise Interrupted(self.step, self._signal or signal.SIGTERM)

    def keep_settings(self) -> None:
        """Writes hparams.yaml."""
        with self.ranks.together():
            if self.ranks.first:
                write_text(self.folder.hparams, dump(self.hparams))

    def insist_finite(self, values: dict[str, float]) -> None:
        """HubError when a step's loss or gradient is no number: nothing of it is kept."""
        for key in ("loss", "grad_norm"):
            if not math.isfinite(values[key]):
                kept = [path.name for path in self.folder.checkpoints()]
                raise HubError(
                    f"training diverged: {key} is {values[key]} at step {self.step}; lower train.lr "
                    f"({self.hparams.train.lr:g}) under another name= (kept: {', '.join(kept) or 'no checkpoint'})"
                )

    def due(self, every: int) -> bool:
        """Whether this step ends an interval, or the run."""
        return self.step % every == 0 or self.step == self.steps

    def validation_interval(self) -> int:
        """Steps between validations: as asked, else a twentieth of the run but at least ten."""
        return self.hparams.evaluate.every or min(self.steps, max(10, self.steps // 20))

    def stopped_early(self) -> bool:
        """Whether `train.patience` validations in a row were no better than the best."""
        return 0 < self.hparams.train.patience <= self.stale

    def take(self, measures: dict[str, float]) -> None:
        """Logs a validation and keeps the model if it is the best so far: the first process's word for it, on all."""
        measures = self.ranks.from_first(measures)
        self.log(measures)
        if not self.best or measures["valid_loss"] < self.best["valid_loss"]:
            self.best = {**measures, "step": self.step}
            self.stale = 0
            self.save_model()
        else:
            self.stale += 1
            if self.stopped_early() and self.logbook is not None:
                tries = f"{self.stale} {agree(self.stale, 'try', 'tries')}"
                self.logbook.say(f"no better validation in {tries}: stopping early at step {self.step}")

    def save(self) -> None:
        """Writes a checkpoint under a temporary name, seals it, renames it, and drops old ones."""
        target, temporary = self.folder.checkpoint(self.step), self.folder.temporary(self.step)
        if self.ranks.from_first(self.ranks.first and target.exists() and not fault(target)):
            return
        with self.ranks.together(), self.all_or_none(target, temporary):
            if self.ranks.first:
                if target.exists():
                    self.folder.set_aside(self.step)
                if self.logbook is not None:
                    self.logbook.sync()
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
        with self.ranks.together(), self.all_or_none(target, temporary):
            self.save_state(temporary)
            if self.ranks.first:
                meta = {"step": self.step, "best": self.best, "stale": self.stale, "seconds": self.seconds}
                meta["steps"] = self.steps
                seal(temporary, {**meta, **self.identity()})
                publish_folder(temporary, target)
                self.folder.drop_old(self.hparams.checkpoint.keep)

    @contextmanager
    def all_or_none(self, target: Path, temporary: Path) -> Iterator[None]:
        """What hinders the writing of a checkpoint becomes one line, and half of it does not keep a full disk full."""
        try:
            with explained(temporary):
                yield
        except (HubError, OSError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            kept = [path.name for path in self.folder.checkpoints() if path != target]
            reason = error if isinstance(error, HubError) else f"cannot write {target}: {error.strerror or error}"
            raise HubError(f"{reason} ({kept[-1] if kept else 'no checkpoint'} stands)") from error

    def restore(self) -> None:
        """Goes on from the newest intact checkpoint, if there is one; every process from the same."""
        found: tuple[Path, dict[str, Any]] | None = None
        with self.ranks.together():
            if self.ranks.first:
                recover_folder(self.folder.model)
                found = self.folder.newest_intact()
        found = self.ranks.from_first(found)
        if found is None:
            return
        path, meta = found
        with self.ranks.together():
            for key, value in self.identity().items():
                if meta.get(key) != value:
                    raise HubError(
                        f"{path} belongs to another {key} ({meta.get(key)}, now {value}); train under another name="
                    )
            if not path.exists():
                raise HubError(f"{path} is not on {socket.gethostname()}; put the run where all nodes see it")
        self.load_state(path)
        self.step, self.best, self.stale, self.seconds = (meta[key] for key in ("step", "best", "stale", "seconds"))
        if self.step < self.steps:
            logger.info("going on from %s", path)
            if meta["steps"] != self.steps:
                logger.warning(
                    "the schedule of the learning rate is stretched from %d to %d steps: a replay from scratch differs",
                    meta["steps"],
                    self.steps,
                )

    def open_log(self) -> None:
        """Writes down what runs where, and opens the logbook at the current step."""
        with self.ranks.together():
            if self.ranks.first:
                environment.write(self.folder.environment, self.manager, self.hparams, self.ranks)
            self.logbook = Logbook(self.hparams, self.folder.path, self.step, self.steps, write=self.ranks.first)

    def log(self, values: dict[str, float]) -> None:
        """Writes values under the current step."""
        if self.logbook is not None:
            self.logbook.log(self.step, values)

    def close_log(self) -> None:
        """Closes the logbook."""
        if self.logbook is not None:
            self.logbook.close()
            self.logbook = None

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM end the run after the step at hand, a later one at once; closes the log."""

        def note(number: int, frame: FrameType | None) -> None:
            if not self._signal:
                self._signal, self._signalled = number, time.monotonic()
            elif time.monotonic() - self._signalled > ECHO:
                raise KeyboardInterrupt

        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            self.close_log()
