"""What an attack found: connections that stand still, broken HTTP, places, pieces kept at once, damaged models."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.studio.serving import TOKEN, Client, golden_runs, serving

pytest.importorskip("starlette", reason="the studio needs the extra [studio]")
pytest.importorskip("uvicorn", reason="the studio needs the extra [studio]")

HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_runs(tmp_path_factory.mktemp("runs"), "one", "hurt")


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[Client]:
    with serving(runs, streams=2) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [one for one in caplog.records if one.exc_info], caplog.text


def sent(client: Client, *parts: str | bytes) -> socket.socket:
    """A connection on which these were sent, with a moment between them."""
    found = socket.create_connection(("127.0.0.1", client.port), timeout=20)
    for number, part in enumerate(parts):
        time.sleep(0.1 if number else 0)
        found.sendall(part if isinstance(part, bytes) else part.encode())
    return found


def heard(connection: socket.socket) -> bytes:
    with connection:
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def soon(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


@pytest.mark.parametrize("garbage", ["no http\r\n\r\n", b"\x16\x03\x01" + b"\0" * 99, "GET /info HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_refused_in_json(client: Client, garbage: str | bytes) -> None:
    head, _, body = heard(sent(client, garbage)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("head", ["Host: 127.0.0.1\r\n", HEAD])
def test_broken_chunks_of_a_request_that_is_answered_already_are_no_failure(client: Client, head: str) -> None:
    post = f"POST /score HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n"
    assert heard(sent(client, post, "zz\r\n\r\n")).startswith(b"HTTP/1.1 40")
    assert heard(sent(client, post + "zz\r\n\r\n")).startswith(b"HTTP/1.1 40")


def test_half_a_request_is_not_held_for_ever(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.studio.wire.LOOK", 0.05)
    monkeypatch.setattr("supervisors.studio.wire.UNSENT", 0.5)
    for part in ("", "GET /in", f"GET /info HTTP/1.1\r\n{HEAD}\r\nGET /inf"):
        connection = sent(client, part)
        with contextlib.suppress(ConnectionResetError):
            heard(connection)  # ends


def test_who_does_not_read_loses_the_place(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.studio.verb.SENDING", 4096)  # what is not read is soon felt
    monkeypatch.setattr("supervisors.studio.wire.LOOK", 0.05)
    monkeypatch.setattr("supervisors.studio.wire.UNREAD", 0.5)
    body = '{"model": "one", "endless": true}'
    with serving(runs) as client, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", client.port))
        slow.sendall(f"POST /generate HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert soon(lambda: client.studio.engine._places == 1)
        assert soon(lambda: client.studio.engine._places == 0)


def test_who_leaves_before_the_first_event_leaves_the_place(client: Client) -> None:
    prompt = client.piece({"model": "one", "seed": 1, "length": 8})[0]
    for seed in range(6):
        body = json.dumps({"model": "one", "tokens": (prompt * 600)[:4000], "seed": seed})
        sent(client, f"POST /generate HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}").close()
    assert soon(lambda: client.studio.engine._places == 0)
    assert client.piece({"model": "one", "seed": 1, "length": 8})[0] == prompt


def test_a_slash_too_much_leads_nowhere_and_a_host_has_a_port(client: Client) -> None:
    assert client.refused("/info/")[0] == client.refused("/score/", {})[0] == 404
    for host in ("127.0.0.1:80@else.where", "localhost:x", "127.0.0.1:1:2"):
        assert client.refused("/info", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})[0] == 403


def test_who_sends_too_much_hears_why(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.refused("/prompt?model=one&name=x.mid", b"\0" * 6_000_000)[0] == 413
    monkeypatch.setattr("supervisors.studio.door.HELD", 0)
    assert client.refused("/score", {"model": "one"})[0] == 503


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 400 + "]" * 400, '{"a":' * 90 + "1" + "}" * 90])
def test_numbers_that_are_none_and_deep_bodies_are_refused(client: Client, value: str) -> None:
    for path, body in (
        ("/prompt", f'{{"model": "one", "notes": [[0, 1, {value}, 64]]}}'),
        ("/keep", f'{{"model": "one", "tokens": [], "about": {{"x": {value}}}}}'),
        ("/score", f'{{"model": "one", "tokens": [{value}]}}'),
    ):
        assert client.refused(path, body.encode())[0] == 400


def test_pieces_kept_at_once_lie_apart_and_whole_or_not_at_all(client: Client, runs: Path) -> None:
    tokens = client.piece({"model": "one", "seed": 3, "length": 40})[0]
    samples = runs / "one" / "samples"
    samples.mkdir()
    (samples / "kept_002").symlink_to(runs / "nowhere")
    with ThreadPoolExecutor(12) as pool:
        body = {"model": "one", "tokens": tokens}
        files = list(pool.map(lambda i: client.json("/keep", {**body, "about": {"i": i}})["files"], range(12)))
    for i, (mid, facts) in enumerate(files):
        assert Path(mid).read_bytes().startswith(b"MThd") and json.loads(Path(facts).read_text())["about"] == {"i": i}
    there = sorted(path.name for path in samples.iterdir())
    assert client.refused("/keep", {**body, "about": {"x": "\ud800"}})[0] == 400
    assert sorted(path.name for path in samples.iterdir()) == there and len(there) == 12 + 2


def test_a_damaged_model_and_a_folder_that_is_none_are_refused(client: Client, runs: Path) -> None:
    (runs / "hurt" / "samples").write_text("a file")
    assert client.refused("/keep", {"model": "hurt", "tokens": []})[0] == 409
    config = runs / "hurt" / "model" / "config.json"
    for name in ("model.safetensors", "tokenizer/miditok.json", "config.json"):
        path = runs / "hurt" / "model" / name
        whole = path.read_bytes()
        for content in (b"", b"[1]", whole[: len(whole) // 2]):
            path.write_bytes(content)
            config.write_bytes(config.read_bytes())
            assert client.refused("/info?model=hurt")[0] in (400, 409, 410)
        path.write_bytes(whole)
