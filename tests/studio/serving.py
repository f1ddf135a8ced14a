"""A studio on a port of this machine in a thread of its own, and a client that shares no code with it."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

from hparams.studio import StudioHParams
from plugins.manager import load_manager
from supervisors.studio.players import Players
from supervisors.studio.verb import listening_on

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TOKEN = "a-token-of-tests"


class Client:
    """Requests of one studio."""

    def __init__(self, port: int, studio: Any) -> None:
        self.port, self.studio = port, studio

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def ask(
        self, path: str, body: Any = None, *, method: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of one answer; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, sent, given)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, body: Any = None) -> Any:
        """The content of an answer that must be good."""
        status, _, content = self.ask(path, body)
        assert status == 200, content
        return json.loads(content)

    def refused(self, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and the one line of an answer that must be none."""
        status, headers, content = self.ask(path, body, **more)
        assert status >= 400 and headers["content-type"] == "application/json"
        [(key, line)] = json.loads(content).items()
        assert key == "error" and line and "\n" not in line and "Traceback" not in line
        return status, line

    def stream(self, body: Any) -> Iterator[tuple[str, Any]]:
        """Events of /generate."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read is soon felt
        connection.request("POST", "/generate", json.dumps(body), {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        try:
            assert answer.status == 200, answer.read()
            while line := answer.readline():
                if line.startswith(b"event: "):
                    yield line[7:].decode().strip(), json.loads(answer.readline()[6:])
        finally:
            answer.close()
            connection.close()

    def piece(self, body: Any) -> tuple[list[Any], dict[int, list[Any]], Any]:
        """Tokens, notes by id and the last event of a whole stream."""
        tokens: list[Any] = []
        notes: dict[int, list[Any]] = {}
        last = None
        for name, data in self.stream(body):
            for note in [*data.get("given", ()), *data.get("notes", ())]:
                notes[note[0]] = note
            for gone in data.get("gone", ()):
                del notes[gone]
            tokens += data.get("tokens", ())
            last = name, data
        return tokens, notes, last


@contextmanager
def serving(runs: Path, own: Path | None = None, **settings: Any) -> Iterator[Client]:
    """A studio of the runs in a folder, until the block ends; needs the extra [studio]."""
    from supervisors.studio.app import Studio
    from supervisors.studio.wire import server

    studio = Studio(Players(load_manager(), runs, own, 2), StudioHParams(**settings))
    listening = listening_on(0)
    serves = server(studio.app(TOKEN))
    thread = threading.Thread(target=lambda: serves.run(sockets=[listening]), daemon=True)
    thread.start()
    try:
        yield Client(listening.getsockname()[1], studio)
    finally:
        serves.should_exit = True
        thread.join(timeout=20)
        studio.close()


def golden_runs(folder: Path, *names: str) -> Path:
    """Copies of a small run under these names."""
    for name in names:
        copytree(GOLDEN / "run", folder / name)
    return folder
