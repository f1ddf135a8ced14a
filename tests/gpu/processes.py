"""Commands of the project in processes of their own, ended in time."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

_GRACE = 15.0  # seconds in which a command that is told to end may save what it has


def module(words: Sequence[str], limit: float, **environment: str) -> str:
    """`python -m WORDS`, and what it prints. RuntimeError with what it complained of last where it fails.

    After `limit` seconds it is interrupted, which launchers pass on to their ranks, and TimeoutExpired is raised.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, complaints = process.communicate(timeout=max(0.1, limit))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE)
        raise
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise RuntimeError(complaint(complaints))
    return output


def complaint(text: str) -> str:
    """The last line that says an error and why, which a launcher's own does not; else the last line of words."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))] or ["no word"]
    return ([line for line in lines if "rror: " in line or line.startswith("swaptunes: ")] or lines)[-1]
