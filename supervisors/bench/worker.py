"""A process of its own for each model, so that memory peaks, threads and caches of one do not touch another's.

The process answers one question at a time; between questions it waits and takes no time from the others.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from supervisors import SPINS
from supervisors.bench.subjects import Spec

MATRIX = "matrix"  # the spec's name of the matrix rate
# Ours are forked from a server that has imported what they share, and run nothing; where forking is no way, they are
# started anew. Peers always are: how threads wait is settled when PyTorch is loaded, and theirs wait as they would
# without the hub.
_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_SPINS_UNASKED = "300000"  # of GNU's OpenMP where nobody sets a policy


def preload() -> None:
    """Tells the server, before the first process starts, what to import."""
    if _METHOD == "forkserver":
        multiprocessing.get_context("forkserver").set_forkserver_preload(["supervisors.bench.preload"])


@contextlib.contextmanager
def _waiting(ours: bool) -> Iterator[None]:
    """The environment of a process that is started inside."""
    before = os.environ.get("GOMP_SPINCOUNT")
    if ours or before != SPINS:  # a policy that the user set holds for all
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPINS_UNASKED
    try:
        yield
    finally:
        os.environ["GOMP_SPINCOUNT"] = before


class Worker:
    """The parent's end. `ask` raises `Lost` when the process failed or died."""

    def __init__(self, spec: Spec) -> None:
        context: Any = multiprocessing.get_context(_METHOD if spec.ours else "spawn")
        self.spec = spec
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, spec), daemon=True)
        with _waiting(spec.ours):
            self._process.start()
        other.close()

    def ask(self, question: str, **arguments: Any) -> Any:
        """The answer of `about`, or of a method such as `train.prepare`, `decode.sample` or `matrix.sample`."""
        self.tell(question, **arguments)
        return self.hear()

    def tell(self, question: str, **arguments: Any) -> None:
        """Asks without waiting, for what several processes may do at once."""
        with contextlib.suppress(OSError):  # `hear` says that it died
            self._connection.send((question, arguments))

    def hear(self) -> Any:
        """The answer to what was told."""
        try:
            fine, answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            raise Lost(f"the process died ({'out of memory?' if code == -9 else f'exit code {code}'})") from None
        if not fine:
            raise Lost(answer)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


class Lost(Exception):
    """Why a model could not be measured, in one line."""


class _Said(logging.Handler):
    """Keeps the hub's warnings, for the parent to print once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def serve(connection: Connection, spec: Spec) -> None:
    """The child's life: builds the model, then answers until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and decides
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries chatter; what matters comes back as an answer
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}  # nobody looks for kernels on the network
    said = _Said()
    logging.getLogger("swaptunes").addHandler(said)
    logging.getLogger("swaptunes").propagate = False
    desk: dict[str, Any] = {}
    while True:
        try:
            question, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            desk = desk or _desk(spec)
            kind, _, method = question.partition(".")
            answer = getattr(desk[kind], method)(**arguments) if method else desk[kind]
            if method == "prepare":
                answer["said"] = said.lines
            connection.send((True, answer))
        except Exception as error:  # somebody's model may fail in any way
            lines = str(error).strip().splitlines()
            connection.send((False, f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]))


def _desk(spec: Spec) -> dict[str, Any]:
    """What can be asked: `about`, and a kind of figure each."""
    import torch

    from supervisors.bench.decoding import Decoding
    from supervisors.bench.matrix import MatrixRate
    from supervisors.bench.peers import build
    from supervisors.bench.subjects import Ours
    from supervisors.bench.training import Training

    if spec.threads:
        torch.set_num_threads(spec.threads)
    about: dict[str, Any] = {"threads": torch.get_num_threads()}
    if spec.name == MATRIX:
        return {"about": about, "matrix": MatrixRate(spec.device)}
    subject: Any = Ours(spec) if spec.ours else build(spec)
    about["parameters"] = sum(parameter.numel() for parameter in subject.model.parameters())
    about["kernel"] = getattr(subject, "kernel", "")
    ways = {"train": Training(subject, spec.vocabulary, spec.device)}
    return {"about": about, **ways, "decode": Decoding(subject, spec.vocabulary, spec.device)}
