"""One worker process as its parent sees it: started, asked, watched, and buried with a reason."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, BinaryIO, Literal, cast

from core.errors import HubError
from core.log import logger

START_SECONDS = 300.0  # for imports and `warm`, which may build a tokenizer from a cold disk
MOST_OUTPUT = 64 << 20  # bytes that one task may print
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")

Ending = Literal["done", "failed", "limited", "crashed"]
Message = tuple[str, Any, str, bool]  # kind, value, what was printed, whether the process is beyond its memory


class WorkerProcess:
    """One thread owns it and calls `start`, `ask` and `close`; any thread may call `look` and `kill`."""

    def __init__(self, greeting: bytes) -> None:
        path = [entry or os.getcwd() for entry in sys.path]
        code = f"import sys; sys.path[:] = {path!r}; from datatools.workers.worker import serve; serve()"
        self._greeting = greeting
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._seconds = 0.0
        self._verdict = ""  # the limit for which we killed it
        self._ended = False  # killed without blame
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
            start_new_session=True,  # Ctrl-C on the terminal is for the parent alone
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._to, self._from = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)

    def start(self) -> None:
        """Waits until it is ready for tasks; HubError when `warm` refuses, RuntimeError when it cannot start."""
        answer = self._exchange(self._greeting, START_SECONDS)
        if answer is not None and answer[0] == "refused":
            raise HubError(answer[1])
        if (answer is None or answer[0] != "ready") and not self._ended:
            raise RuntimeError(f"a worker process cannot start: {self._epitaph() if answer is None else answer[1]}")

    def ask(self, task: Any, seconds: float) -> tuple[Ending, Any]:
        """How one task ended, and its result or the reason why there is none."""
        answer = self._exchange(pickle.dumps(task), seconds)
        if answer is None:
            why = self._epitaph()
            return "limited" if self._verdict else "crashed", why
        kind, value, output, worn = answer
        if output.strip():
            logger.debug("printed while reading %s: %s", task, " ".join(output.split()))
        if worn:  # where the system has no limit, memory that is not given back ends with the process
            self.kill()
        return cast(Ending, kind), value

    def alive(self) -> bool:
        """Whether it can take another task."""
        return not self._ended and not self._verdict and self._process.poll() is None

    def look(self) -> None:
        """Kills the process when its task is over a limit."""
        with self._lock:
            deadline = self._deadline
        if deadline is None:
            return
        verdict = ""
        if time.monotonic() > deadline:
            verdict = f"takes longer than {self._seconds:g} s"
        elif os.fstat(self._log.fileno()).st_size > MOST_OUTPUT:
            verdict = f"prints more than {MOST_OUTPUT >> 20} MB"
        with self._lock:
            if verdict and self._deadline == deadline:  # still the same task
                self._verdict = verdict
                self._process.kill()

    def kill(self) -> None:
        """Ends the process without blaming a task."""
        self._ended = True
        self._process.kill()

    def close(self) -> None:
        """Ends the process and frees all that it held here."""
        self.kill()
        self._process.wait()
        for end in (self._to, self._from, self._log):
            with contextlib.suppress(OSError):  # what was never sent cannot be flushed
                end.close()

    def _exchange(self, message: bytes, seconds: float) -> Message | None:
        """Sends a message and waits for the answer; None when the process died instead."""
        with self._lock:
            self._seconds = seconds
            self._deadline = time.monotonic() + seconds
        try:
            self._to.write(message)
            self._to.flush()
            return cast(Message, pickle.load(self._from))
        except (OSError, EOFError, pickle.UnpicklingError):
            return None
        finally:
            with self._lock:
                self._deadline = None

    def _epitaph(self) -> str:
        """Why there is no answer, from the way in which the process ended and the last that it printed."""
        code = self._process.wait()
        if self._verdict:
            return self._verdict
        size = os.fstat(self._log.fileno()).st_size
        self._log.seek(max(0, size - 2000))
        lines = self._log.read().decode(errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            how = f"kills the process that reads it ({name})"
        else:
            how = f"ends the process that reads it (exit code {code})"
        return f"{how}: {last}" if last else how
