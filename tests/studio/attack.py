"""Attacks a studio: `python -m tests.studio.attack [REQUESTS] [CLIENTS]`, 10,000 and 200 unless said.

Requests are made of good ones by seeded faults: fields of other types and sizes, broken JSON, other methods, paths that
lead out, tokens that are almost right, bytes that are no HTTP. What must hold after all of it: every answer that is no
success is one line of JSON, none is a 500, the studio still streams what it streamed before, its streams are gone and
its memory is bounded.
"""

import json
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.studio.serving import GOLDEN, TOKEN, Client, golden_runs, serving

MODEL = "small"
PATHS = ("/", "/info", "/prompt", "/generate", "/fill", "/score", "/decode", "/export", "/keep")
OUT = (
    "/../x",
    "/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/%00",
    "/info/../../x",
    "/static/x",
    "/é".encode().decode("latin-1"),
)
OTHER = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
JUNK = (b"\x16\x03\x01", b"GET / HTTP/9\r\n\r\n", b"POST /generate HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**40, 1e308, -0.0, "", "x" * 5000, "../../etc", "\x00\x1b[31m", [], [[]], {},
    {"a": {}}, [3] * 300, [1.5], [None], "nan", "1", [["3"]], [-1], [10**9], {"density": "x"}, {"density": 1e9},
)  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "/prompt": {"model": MODEL, "notes": [[0, 1, 60, 80], [1, 1, 64, 80]], "tempo": 100},
    "/generate": {"model": MODEL, "length": 12, "bars": 0, "seed": 1, "temperature": 1.0, "top_k": 0, "controls": {}},
    "/fill": {"model": MODEL, "tokens": [3, 381, 192], "first": 0, "count": 1, "ways": 1},
    "/score": {"model": MODEL, "tokens": [3, 381, 192]},
    "/decode": {"model": MODEL, "tokens": [3, 381, 192]},
    "/export": {"model": MODEL, "tokens": [3, 381, 192], "format": "mid"},
}


def request(draw: random.Random) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Method, path, body and headers of one request, most of them wrong in some way."""
    path = draw.choice(PATHS if draw.random() < 0.9 else OUT)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    kind = draw.random()
    if kind < 0.08:
        headers = draw.choice([{}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": "Bearer"}, OTHER])
    method = "POST" if path in GOOD or path == "/keep" else "GET"
    if draw.random() < 0.05:
        method = draw.choice(["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "GET", "POST"])
    if path == "/prompt" and draw.random() < 0.3:
        ending = draw.choice([".mid", ".abc", ".xml", ".krn", ".mxl", ".exe", ""])
        content = bytearray((GOLDEN / "music" / "00.mid").read_bytes())
        for _ in range(draw.randrange(8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        return "POST", f"/prompt?model={MODEL}&name=x{ending}", bytes(content[: draw.randrange(len(content))]), headers
    body = dict(GOOD.get(path, {"model": MODEL, "tokens": []}))
    for _ in range(draw.randrange(3)):
        body[draw.choice([*body, "junk"])] = draw.choice(VALUES)
    text = json.dumps(body).encode()
    if draw.random() < 0.15:
        place = draw.randrange(len(text))
        text = text[:place] + bytes([draw.randrange(256)]) * draw.randrange(3) + text[place + 1 :]
    return method, path, None if method in ("GET", "HEAD") else text, headers


def fault_of(client: Client, asked: tuple[str, str, bytes | None, dict[str, str]], seen: Counter[int]) -> str:
    """What is wrong with the answer; empty where nothing is."""
    method, path, body, headers = asked
    try:
        status, given, content = client.ask(path, body, method=method, headers=headers)
    except (ValueError, HTTPException) as error:  # what the client itself will not send
        return "" if "can't contain" in str(error) or "ascii" in str(error) else f"no answer: {error!r}"
    seen[status] += 1
    if status == 500:
        return f"500: {content[:200]!r}"
    if status >= 400 and method != "HEAD":
        if given.get("content-type") != "application/json":
            return "" if path in OUT and status == 400 else f"{status} is no JSON: {content[:80]!r}"
        line = json.loads(content)["error"]
        if "\n" in line or len(line) > 1000:
            return f"{status} is no line: {line[:200]}"
    return ""


def junk(client: Client, draw: random.Random) -> None:
    """Bytes that are no HTTP, and a client that says nothing more."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=5) as raw:
        raw.sendall(draw.choice(JUNK) + draw.randbytes(draw.randrange(300)))


def crowd(client: Client, count: int, seen: Counter[int], faults: list[str]) -> None:
    """So many clients at once, each drawing a piece or told to come again."""

    def one(seed: int) -> None:
        body = json.dumps({"model": MODEL, "seed": seed, "length": 40}).encode()
        fault = fault_of(client, ("POST", "/generate", body, {"Authorization": f"Bearer {TOKEN}"}), seen)
        if fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def attack(client: Client, requests: int, clients: int) -> tuple[list[str], Counter[int]]:
    """Faults that were found, and how often each status was the answer."""
    before = client.piece({"model": MODEL, "seed": 3, "length": 60})[0]
    faults: list[str] = []
    seen: Counter[int] = Counter()

    def some(seeds: range) -> None:
        for seed in seeds:
            draw = random.Random(seed)
            asked = request(draw)
            fault = fault_of(client, asked, seen)
            if fault:
                faults.append(f"seed {seed}: {asked[0]} {asked[1]} {str(asked[2])[:160]}: {fault}")
            if seed % 50 == 0:
                junk(client, draw)

    threads = [threading.Thread(target=some, args=(range(first, requests, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crowd(client, clients, seen, faults)
    until = time.monotonic() + 30
    engine = client.studio.engine
    while (engine._streams or engine._places) and time.monotonic() < until:
        time.sleep(0.1)
    if engine._streams or engine._places:
        faults.append(f"{len(engine._streams)} streams and {engine._places} places are left")
    if client.piece({"model": MODEL, "seed": 3, "length": 60})[0] != before:
        faults.append("the same request draws another piece than before")
    return faults, seen


def main(words: list[str]) -> None:
    """Attacks a studio in this process and prints what was found."""
    requests, clients = (int(word) for word in [*words, *("10000", "200")[len(words) :]])
    with tempfile.TemporaryDirectory() as folder, serving(golden_runs(Path(folder), MODEL)) as client:
        attack(client, 50, 5)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        faults, seen = attack(client, requests, clients)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024
    print(f"{requests:,} requests and {clients} clients at once: {dict(sorted(seen.items()))}")
    print(f"peak memory grew by {grown:.0f} MB; {len(faults)} findings")
    print("\n".join(faults[:20]))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(sys.argv[1:])
