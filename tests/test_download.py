"""Downloads are verified, go on where they broke off, and never put a bad file in the place of a good one."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from core.errors import HubError
from datatools.fetching import download
from datatools.fetching.download import Remote

DATA = np.random.default_rng(0).bytes(700_000)
Behavior = Callable[["Handler", int], None]  # of a request that asks for the bytes from there on


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the next behavior of the list; the last one stays."""

    behaviors: list[Behavior]
    asked: list[int]  # the first byte that each request wanted

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.asked.append(start)
        (self.behaviors.pop(0) if len(self.behaviors) > 1 else self.behaviors[0])(self, start)

    def answer(self, data: bytes, start: int, promised: int | None = None, ranged: bool = True) -> None:
        """Sends `data` from `start` on, of which `promised` bytes are announced."""
        partial = start > 0 and ranged
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(data) if promised is None else promised))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def whole(handler: Handler, start: int) -> None:
    handler.answer(DATA[start:], start)


def cut(handler: Handler, start: int) -> None:
    """Promises all and hangs up after a fifth."""
    handler.answer(DATA[start : start + len(DATA) // 5], start, promised=len(DATA) - start)


def deaf(handler: Handler, start: int) -> None:
    """Knows no ranges."""
    handler.answer(DATA, 0, ranged=False)


def wrong(handler: Handler, start: int) -> None:
    handler.answer(bytes(len(DATA) - start), start)


def busy(handler: Handler, start: int) -> None:
    handler.send_error(503)


def absent(handler: Handler, start: int) -> None:
    handler.send_error(404)


def unsatisfiable(handler: Handler, start: int) -> None:
    handler.send_error(416)


def silent(handler: Handler, start: int) -> None:
    handler.close_connection = True


def endless(handler: Handler, start: int) -> None:
    handler.answer(DATA + bytes(500_000), 0, ranged=False)


def rude(handler: Handler, start: int) -> None:
    """Puts line ends and a control sequence into its answer."""
    handler.wfile.write(b"HTTP/1.0 404 \x1b[2Jno\x0bsuch\r\n\r\n")


def lost(handler: Handler, start: int) -> None:
    """Sends people to an address that is none."""
    handler.send_response(302)
    handler.send_header("Location", "http://[::1")
    handler.end_headers()


def circular(handler: Handler, start: int) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Remote]]:
    """Starts a server on the loopback with these behaviors, and gives the file that it is to have."""
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*behaviors: Behavior) -> Remote:
        Handler.behaviors, Handler.asked = list(behaviors), []
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/set.bin"
        return Remote(address, "set.bin", len(DATA), hashlib.sha256(DATA).hexdigest())

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Serve = Callable[..., Remote]


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once(serve: Serve, tmp_path: Path) -> None:
    remote = serve(whole)
    for _ in range(2):
        assert download.download(remote, tmp_path).read_bytes() == DATA
    assert Handler.asked == [0]
    assert held(tmp_path) == ["set.bin"]


def test_a_cut_connection_is_gone_on_with(serve: Serve, tmp_path: Path) -> None:
    assert download.download(serve(cut, cut, busy, silent, whole), tmp_path).read_bytes() == DATA
    fifth = len(DATA) // 5
    assert Handler.asked == [0, fifth, 2 * fifth, 2 * fifth, 2 * fifth]


def test_a_later_process_goes_on_too(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"answers 404 .*put it at .*set\.bin, or give dataset\.path=PATH"):
        download.download(serve(cut, absent), tmp_path)
    assert held(tmp_path) == ["set.bin.part"]
    assert download.download(serve(whole), tmp_path).read_bytes() == DATA
    assert Handler.asked == [len(DATA) // 5]


def test_a_server_without_ranges_starts_again(serve: Serve, tmp_path: Path) -> None:
    assert download.download(serve(cut, deaf), tmp_path).read_bytes() == DATA
    assert Handler.asked == [0, len(DATA) // 5]


def test_wrong_bytes_are_not_kept_nor_take_a_files_place(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"older")
    with pytest.raises(HubError, match=r"gave a file of sha256 [0-9a-f]{64}; expected [0-9a-f]{64}; nothing of it"):
        download.download(serve(wrong), tmp_path)
    assert held(tmp_path) == ["set.bin"]
    assert (tmp_path / "set.bin").read_bytes() == b"older"
    assert download.download(serve(whole), tmp_path).read_bytes() == DATA  # a damaged file is replaced by a good one


@pytest.mark.parametrize("stale", [b"other bytes", bytes(len(DATA)), bytes(len(DATA) + 1)])
def test_a_beginning_that_does_not_fit_is_dropped(serve: Serve, tmp_path: Path, stale: bytes) -> None:
    (tmp_path / "set.bin.part").write_bytes(stale)
    assert download.download(serve(whole), tmp_path).read_bytes() == DATA
    assert Handler.asked[-1] == 0


def test_a_range_beyond_the_servers_file_starts_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(DATA[:1000])
    assert download.download(serve(unsatisfiable, whole), tmp_path).read_bytes() == DATA
    assert Handler.asked == [1000, 0]


def test_no_more_is_written_than_was_promised(serve: Serve, tmp_path: Path) -> None:
    assert download.download(serve(endless), tmp_path).stat().st_size == len(DATA)


@pytest.mark.parametrize("behavior", [busy, silent])
def test_a_server_that_never_answers_is_given_up(serve: Serve, tmp_path: Path, behavior: Behavior) -> None:
    remote = serve(behavior)
    with pytest.raises(HubError, match=r"set\.bin cannot be downloaded from http.*; get it in another way") as error:
        download.download(remote, tmp_path)
    assert "\n" not in str(error.value)
    assert len(Handler.asked) == download.TRIES


@pytest.mark.parametrize(("behavior", "words"), [(rude, "answers 404"), (lost, "IPv6"), (circular, "answers 302")])
def test_a_rude_answer_is_one_printable_line(behavior: Behavior, words: str, serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=words) as caught:
        download.download(serve(behavior), tmp_path)
    assert str(caught.value).isprintable()


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)
    remote = Remote("http://127.0.0.1:9/set.bin", "set.bin", 1, "0" * 64)  # the port of discard, where nobody listens
    with pytest.raises(HubError, match=rf"refused.*put it at {tmp_path}/set\.bin, or give dataset\.path=PATH"):
        download.download(remote, tmp_path)


def test_what_is_whole_already_is_asked_of_nobody(tmp_path: Path) -> None:
    """A transfer that was killed between its last byte and its new name."""
    remote = Remote("http://127.0.0.1:1/a.bin", "a.bin", len(DATA), hashlib.sha256(DATA).hexdigest())
    (tmp_path / "a.bin.part").write_bytes(DATA)
    assert download.download(remote, tmp_path).read_bytes() == DATA and not (tmp_path / "a.bin.part").exists()
