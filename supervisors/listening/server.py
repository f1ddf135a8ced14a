"""Serves a listening test on this machine: its page and sounds, and a place for answers. Nothing else is reachable."""

import contextlib
import json
import sqlite3
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from core.errors import HubError
from supervisors.listening import ratings


class Handler(SimpleHTTPRequestHandler):
    """Files below site/, and POST /ratings."""

    timeout = 30  # seconds that a silent client may hold a thread

    def __init__(self, *arguments: object, home: Path) -> None:
        self.home = home
        super().__init__(*arguments, directory=str(home / "site"))  # type: ignore[arg-type]

    def do_POST(self) -> None:
        """Takes the answers of one participant."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return self._say(411, "say how long it is")
        if self.path != "/ratings" or not 0 <= length <= ratings.MOST_BYTES:
            self._pass_over(length)
        if self.path != "/ratings":
            return self._say(404, "there is nothing to send to but /ratings")
        if not 0 <= length <= ratings.MOST_BYTES:
            self.close_connection = True
            return self._say(413, f"at most {ratings.MOST_BYTES:,} bytes")
        try:
            ratings.store(self.home, self.rfile.read(length))
        except ValueError as error:
            return self._say(400, str(error))
        except (OSError, sqlite3.Error) as error:
            return self._say(507, f"the answers cannot be stored: {error}")
        return self._say(200, "kept")

    def list_directory(self, path: object) -> None:
        """Folders are not listed."""
        self.send_error(404)

    def _pass_over(self, length: int) -> None:
        """Reads what is not taken, within reason: who still sends when the connection closes never sees the answer."""
        left = min(length, 4 * ratings.MOST_BYTES)
        with contextlib.suppress(OSError):  # it falls silent
            while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
                left -= len(part)

    def _say(self, status: int, text: str) -> None:
        body = json.dumps({"message": text}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are nobody's business."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the test in `folder`, bound to this machine alone; HubError for a port in use."""
    try:
        found = ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, home=folder))
    except OSError as error:
        raise HubError(
            f"port {port} cannot be had ({error.strerror}); give another listen.port=, or 0 for any"
        ) from error
    found.daemon_threads = True
    return found
