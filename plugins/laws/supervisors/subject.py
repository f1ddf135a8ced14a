"""A supervisor under examination: its runs of a few steps, each in a folder of its own that goes away with it."""

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cached_property
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from core.errors import HubError
from core.log import logger
from hparams.base import (
    CheckpointHParams,
    DataHParams,
    EvaluateHParams,
    GenerateHParams,
    HParams,
    ModelHParams,
    TrainHParams,
)
from hparams.loading import dump
from plugins.laws.law import LawBroken
from plugins.laws.supervisors.surroundings import GruHParams, WalksHParams, lent
from plugins.manager import load_manager

STEPS, SAVED = 6, 3


class Killed(Exception):
    """Ends a run in the midst of a step, as a kill does."""


class SupervisorSubject:
    """Runs of one supervisor, over the first tokenizer that it takes."""

    def __init__(self, build: Callable[..., Any], section: Any) -> None:
        self.build = build
        self.section = section
        self._home = TemporaryDirectory(prefix="laws-")

    @cached_property
    def manager(self) -> Any:
        return lent(load_manager(), self.build, type(self.section))

    def folder(self, name: str) -> Path:
        """Where a run of this name lies."""
        return Path(self._home.name) / name

    def hparams(self, dropout: float = 0.1) -> HParams:
        """A small run of `STEPS` steps with a checkpoint half-way."""
        return self._hparams(self.tokenizer, dropout)

    @cached_property
    def tokenizer(self) -> str:
        """The name of the first tokenizer that the supervisor does not refuse, before it has read anything."""
        for name in self.manager.tokenizers:
            supervisor = self.build(self._hparams(name, 0.0), self.manager, self.folder("tried"))
            try:
                getattr(supervisor, "insist_fits", bool)()
            except HubError:
                continue
            return name
        raise LawBroken("it refuses every tokenizer that there is")

    def _hparams(self, tokenizer: str, dropout: float) -> HParams:
        return HParams(
            name="laws",
            supervisor=self.section,
            backbone=GruHParams(dropout=dropout),
            tokenizer=self.manager.section("tokenizer", tokenizer),
            dataset=WalksHParams(),
            seed=1,
            model=ModelHParams(),
            data=DataHParams(length=48, batch_size=4, workers=1),
            train=TrainHParams(steps=STEPS, lr=5e-3, precision="fp32"),
            evaluate=EvaluateHParams(every=SAVED, tokens=512),
            checkpoint=CheckpointHParams(every=SAVED, keep=9),
            generate=GenerateHParams(count=1, length=48),
        )

    def run(self, name: str, dropout: float = 0.1) -> Any:
        """A supervisor of the run in the folder `name`, which is new or goes on."""
        return self.build(self.hparams(dropout), self.manager, self.folder(name))

    @cached_property
    def whole(self) -> Any:
        """A run that nothing disturbed, at its end."""
        with quiet():
            supervisor = self.run("whole")
            supervisor.train()
        return supervisor

    def killed(self, name: str, step: int) -> None:
        """Trains a run until it is killed in the step of that number."""
        supervisor = self.run(name)
        learn = supervisor.train_step

        def fatal(number: int) -> Any:
            if number == step:
                raise Killed
            return learn(number)

        supervisor.train_step = fatal
        with quiet():
            try:
                supervisor.train()
            except Killed:
                return
        raise LawBroken(f"train ended before it asked train_step for step {step} of {STEPS}")

    def losses(self, name: str) -> list[float]:
        """The losses that a run wrote down, step by step."""
        lines = (self.folder(name) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]

    def trained_by_ranks(self, name: str, ranks: int) -> None:
        """Trains a run in several processes that share each step; LawBroken with what they said when one fails."""
        plan = self.folder(f"{name}.yaml")
        plan.write_text(dump(self.hparams(dropout=0.0)), encoding="utf-8")  # which every process draws by itself
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--master_addr=127.0.0.1"]
        named = [f"{thing.__module__}:{thing.__qualname__}" for thing in (self.build, type(self.section))]
        words = ["-m", __name__, *named, str(plan), str(self.folder(name))]
        root = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, [root, *sys.path]))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *launcher, f"--master_port={port}", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "Error" in line] or done.stderr.splitlines()
            raise LawBroken(f"{ranks} processes could not train: {said[0] if said else 'without a word'}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps progress and remarks of a run from the table of verdicts."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _thing(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _rank(build: str, section: str, plan: str, folder: str) -> None:
    """One of several processes: trains the run that `plan` describes."""
    from hparams.loading import from_file

    manager = lent(load_manager(), _thing(build), _thing(section))
    _thing(build)(from_file(Path(plan), manager.section), manager, Path(folder)).train()
    torch.distributed.barrier()  # who leaves first would end the others
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _rank(*sys.argv[1:])
