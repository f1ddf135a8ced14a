"""Python in a process of its own that need not import PyTorch again: forked from a server that has.

A test of the command would spend most of its time on imports. `start` and `run` behave as `python -m MODULE WORDS` or
`python -c CODE WORDS` does, with one exception: all children of a server share the seed of Python's hashes. Where
nothing can be forked, Python starts as it always does.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

from plugins.built_in import BUILT_IN

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "supervisors.run")
# What a run imports in the end; the names of PyTorch are those that it puts off until they are called.
HEAVY = (
    *("torch", "torch._decomp.decompositions", "torch._dynamo.convert_frame", "torch.utils.tensorboard", "deepspeed"),
    *("matplotlib.pyplot", "miditok", *BUILT_IN),
    *("supervisors.language_model", "supervisors.music_vae.supervisor"),
    *("plugins.backbones.hybrid", "plugins.backbones.lstm"),
)


class Child:
    """A forked command, as far as `subprocess.Popen` would be used of it."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._said = b""
        self.returncode: int | None = None
        self.pid = int(self._line(60.0) or 0)

    def _line(self, seconds: float | None) -> str | None:
        """What the server says next; None when it says nothing for so long."""
        self._talk.settimeout(seconds)
        while b"\n" not in self._said:
            try:
                part = self._talk.recv(64)
            except (TimeoutError, BlockingIOError):
                return None
            if not part:
                raise RuntimeError("the server of warm processes is gone")
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        if self.returncode is None and (line := self._line(0.0)) is not None:
            self.returncode = int(line)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; TimeoutExpired when it takes longer."""
        if self.returncode is None:
            if (line := self._line(timeout)) is None:
                raise subprocess.TimeoutExpired("a warm process", timeout or 0.0)
            self.returncode = int(line)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    interpreter: str = sys.executable,
) -> "Child | subprocess.Popen[bytes]":
    """The interpreter with these words in the background."""
    if not hasattr(os, "fork"):
        return subprocess.Popen([interpreter, *words], cwd=cwd, env=dict(env), stdout=stdout, stderr=stderr)
    talk = socket.socket(socket.AF_UNIX)
    talk.connect(_server(interpreter))
    request = json.dumps([list(words), str(cwd), dict(env)]).encode()
    socket.send_fds(talk, [len(request).to_bytes(8, "big")], [stdout.fileno(), stderr.fileno()])
    talk.sendall(request)
    return Child(talk)


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], interpreter: str = sys.executable
) -> "subprocess.CompletedProcess[str]":
    """The interpreter with these words to its end, with what it printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = start(words, cwd=cwd, env=env, stdout=out, stderr=errors, interpreter=interpreter)
        try:
            code = child.wait(timeout=300)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        said = []
        for file in (out, errors):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([interpreter, *words], code, *said)


@cache
def _server(interpreter: str) -> str:
    """The address of this process's server under an interpreter, which ends with this process."""
    address = str(Path(tempfile.mkdtemp(prefix="warm-")) / "socket")
    process = subprocess.Popen(
        [interpreter, "-m", "tests.warm", address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None and process.stdout is not None
    atexit.register(process.stdin.close)
    while (line := process.stdout.readline()) != b"ready\n":  # libraries have their say before it
        assert line, "the server of warm processes cannot start"
    return address


def _serve(address: str) -> None:
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's business once they have spoken
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        talk, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _keep(talk)
            return
        talk.close()


def _keep(talk: socket.socket) -> None:
    """Forks what is asked for, says its number and, once it has ended, its exit code."""
    size, files, _, _ = socket.recv_fds(talk, 8, 2)
    words, cwd, environment = json.loads(talk.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        talk.close()
        _become(words, cwd, environment, files)
    talk.sendall(f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # nobody waited
        talk.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(words: list[str], cwd: str, environment: dict[str, str], files: list[int]) -> NoReturn:
    """What an interpreter with these words is, to its end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    for file in files:
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = cwd
    kind, what, *rest = words
    sys.argv = [kind, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert kind == "-c", kind
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    sys.exit()


if __name__ == "__main__":
    try:
        _serve(sys.argv[1])
    except Exception:
        traceback.print_exc()
        sys.exit(1)
