"""The studio as a client sees it: what it streams is what the sampler draws, and nothing wrong gets in or stays."""

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.contracts.tokenizer import Ids
from core.errors import HubError
from datatools.reading import scores
from hparams.base import GenerateHParams
from supervisors.generating.drawing import draw
from supervisors.run import main
from supervisors.studio import app, engine, wire
from supervisors.studio.asking import GenerateRequest
from supervisors.studio.players import Players
from supervisors.studio.verb import listening_on
from tests.studio import attack
from tests.studio.serving import GOLDEN, TOKEN, Client, golden_runs, serving

pytest.importorskip("starlette", reason="the studio needs the extra [studio]")
pytest.importorskip("uvicorn", reason="the studio needs the extra [studio]")

MODEL = "small"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(golden_runs(tmp_path_factory.mktemp("runs"), MODEL, "twin"), streams=6) as running:
        yield running


def offline(client: Client, prompt: Ids, row: int = 0, **settings: Any) -> Ids:
    """What `generate` draws behind the prompt."""
    player = client.studio.players.get(MODEL)
    asked = GenerateHParams(count=row + 1, **settings)
    [(_, piece)] = draw(player.model, player.tokenizer, asked, prompt, row, 0, lambda _: None)
    return piece.ids[len(prompt) :]


def in_seconds(client: Client, tokens: Ids) -> list[tuple[Any, ...]]:
    score = client.studio.players.get(MODEL).tokenizer.decode(tokens).score.to("second")
    return sorted((n.time, n.duration, n.pitch, n.velocity) for track in score.tracks for n in track.notes)


def test_streams_at_once_draw_what_the_sampler_draws(client: Client) -> None:
    wishes = [
        {"length": 150, "seed": 3},
        {"length": 80, "seed": 3, "row": 2, "temperature": 0.8, "top_k": 5},
        {"length": 200, "seed": 4, "bars": 4},
        {"length": 120, "seed": 5, "min_p": 0.02, "repetition_penalty": 1.2},
        {"length": 150, "seed": 3},
    ]
    found: list[Any] = [None] * len(wishes)

    def play(number: int) -> None:
        found[number] = client.piece({"model": MODEL, **wishes[number]})

    threads = [threading.Thread(target=play, args=(number,)) for number in range(len(wishes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for wish, (tokens, notes, last) in zip(wishes, found, strict=True):
        settings = {"top_p": GenerateHParams.top_p, **wish}
        assert tokens == offline(client, [], settings.pop("row", 0), **settings)
        assert last[0] == "done" and last[1]["why"] in ("ended", "complete", "length")
        rows = sorted(tuple(note[3:7]) for note in notes.values())
        for mine, theirs in zip(rows, in_seconds(client, tokens), strict=True):
            assert mine == pytest.approx(theirs, abs=2e-3)


def test_going_on_from_a_place_draws_what_the_sampler_draws_behind_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, _, _ = client.piece({"model": MODEL, "length": 200, "seed": 8, "endless": True})
    assert len(tokens) == 200
    hits = []
    states = client.studio.engine.states
    longest = states.longest
    monkeypatch.setattr(states, "longest", lambda *given: hits.append(longest(*given)) or hits[-1])
    for cut, seed in ((150, 1), (150, 2), (128, 3), (20, 4)):
        prefix = tokens[:cut]
        found, notes, _ = client.piece({"model": MODEL, "tokens": prefix, "length": 60, "seed": seed})
        assert found == offline(client, prefix, length=60, seed=seed)
        assert len(notes) == len(in_seconds(client, prefix + found))
    assert [hit and hit[0] for hit in hits] == [128, 128, 128, None]  # read anew only behind what was kept


def test_info_tells_ranges_that_are_kept(client: Client) -> None:
    info = client.json(f"/info?model={MODEL}")
    assert info["models"] == [MODEL, "twin"] and info["model"]["constant_memory"]
    about = {key: info["model"][key] for key in ("name", "backbone", "tokenizer", "streams", "most_prompt", "controls")}
    config = json.loads((GOLDEN / "run" / "model" / "config.json").read_text())
    parts = {slot: config["hparams"][slot]["name"] for slot in ("backbone", "tokenizer")}
    assert about == {"name": MODEL, **parts, "streams": 1, "most_prompt": 8191, "controls": {}}
    assert (info["model"]["parameters"], info["model"]["most_tokens"]) == (config["parameters"], None)
    assert info["limits"] == {
        "streams": 6, "upload_megabytes": 4.0, "prompt_tokens": 8192, "piece_tokens": 20_000, "notes": 20_000
    }  # fmt: skip
    for name, limits in info["settings"].items():
        if name == "guidance":  # towards nothing, of a model without controls
            continue
        body = {"model": MODEL, "length": 8, name: limits["most"]}
        assert client.ask("/generate", body)[0] == 200, name
        beyond = limits["most"] + 1
        status, line = client.refused("/generate", {**body, name: beyond})
        assert status == 400 and line.startswith(f"{name} is {beyond}; expected") and str(limits["most"]) in line


def test_a_file_and_notes_become_a_prompt(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (GOLDEN / "music" / "00.mid").read_bytes()
    found = client.json(f"/prompt?model={MODEL}&name=../../etc/x.MID", content)
    tokenizer = client.studio.players.get(MODEL).tokenizer
    assert found["tokens"] == tokenizer.encode(scores.read(GOLDEN / "music" / "00.mid")) and found["cut"] == 0
    assert len(found["notes"]) == len(in_seconds(client, found["tokens"])) and found["bars"][0][:2] == [0, 0]
    notes = [[0, 1, 60, 80], [1, 0.5, 64, 80], [4, 2, 67, 80]]
    found = client.json("/prompt", {"model": MODEL, "notes": notes})
    assert [[note[1], note[2], note[5]] for note in found["notes"]] == [note[:3] for note in notes]
    assert [bar[0] for bar in found["bars"]] == [0, 4]
    monkeypatch.setattr(app, "MOST", 5)
    cut = client.json("/prompt", {"model": MODEL, "notes": notes})
    assert cut["tokens"] == found["tokens"][:4] and cut["cut"] == len(found["tokens"]) - 4, "one is left to be drawn"


def test_scores_are_those_of_the_whole_piece_read_at_once(client: Client) -> None:
    tokens = client.json("/prompt", {"model": MODEL, "notes": [[0, 1, 60, 80], [1, 1, 62, 80]]})["tokens"]
    found = client.json("/score", {"model": MODEL, "tokens": tokens})
    player = client.studio.players.get(MODEL)
    with torch.no_grad():
        logits, _ = player.model(torch.tensor([[player.tokenizer.bos_id, *tokens]]))
    wanted = -logits[0].log_softmax(-1)[range(len(tokens) + 1), [*tokens, player.tokenizer.eos_id]]
    assert found["tokens"] == pytest.approx(wanted.tolist(), rel=1e-4) and found["notes"] == 2
    assert found["nats_per_note"] == pytest.approx(float(wanted.sum()) / 2, rel=1e-4)


def test_bars_are_filled_and_no_note_outside_changes(client: Client) -> None:
    tokens, _, _ = client.piece({"model": MODEL, "seed": 5, "bars": 6})
    body = {"model": MODEL, "tokens": tokens, "first": 2, "count": 2, "seed": 7}
    found = client.json("/fill", body)
    assert client.json("/fill", body)["tokens"] == found["tokens"] != tokens
    before, after = (client.json("/decode", {"model": MODEL, "tokens": ids}) for ids in (tokens, found["tokens"]))

    assert 1 <= found["ways"] <= 8 and len(before["bars"]) == len(after["bars"]) >= 6

    def outside(piece: Any) -> list[tuple[Any, ...]]:
        begin, end = piece["bars"][2][0], piece["bars"][4][0]
        rows = [(round(note[1], 4), round(note[2], 4), *note[5:]) for note in piece["notes"] if note[1] < begin]
        return rows + [
            (round(note[1] - end, 4), round(note[2], 4), *note[5:]) for note in piece["notes"] if note[1] >= end
        ]

    assert sorted(outside(before)) == sorted(outside(after)) != []
    for first, count in ((4, 2), (0, 6), (5, 1)):
        other = client.json("/fill", {**body, "first": first, "count": count})
        assert len(other["bars"]) >= 6 and other["tokens"] != tokens


@pytest.mark.parametrize(
    ("format", "begins"),
    [("mid", b"MThd"), ("abc", b"X:1"), ("musicxml", b"<?xml"), ("wav", b"RIFF"), ("png", b"\x89PNG"), ("mirex", b"{")],
)
def test_a_piece_is_exported(client: Client, format: str, begins: bytes) -> None:
    tokens = client.json("/prompt", {"model": MODEL, "notes": [[0, 1, 60, 80], [1, 1, 62, 80]]})["tokens"]
    status, headers, content = client.ask("/export", {"model": MODEL, "tokens": tokens, "format": format})
    assert status == 200 and content.startswith(begins)
    assert headers["content-disposition"].startswith(f'attachment; filename="piece.{format}')


def test_a_piece_is_kept_among_the_samples_of_its_run(client: Client) -> None:
    tokens = client.json("/prompt", {"model": MODEL, "notes": [[0, 1, 60, 80]]})["tokens"]
    files = client.json("/keep", {"model": MODEL, "tokens": tokens, "about": {"seed": 1}})["files"]
    midi, record = map(Path, files)
    assert midi.parent.parent == client.studio.players.runs / MODEL / "samples"
    assert scores.read(midi).score.note_num() == 1
    told = json.loads(record.read_text())
    assert (told["tokens"], told["notes"], told["about"]) == (tokens, 1, {"seed": 1})


BAD: list[tuple[str, Any, int, str]] = [
    ("/generate", b"{", 400, "no JSON"),
    ("/generate", b"[" * 100_000, 400, "no JSON"),
    ("/generate", [], 400, "no JSON object"),
    ("/generate", {}, 400, "model is missing"),
    ("/generate", {"model": "smal"}, 400, 'Did you mean "small"'),
    ("/generate", {"model": "../small"}, 400, "there is no model"),
    ("/generate", {"model": MODEL, "temprature": 1}, 400, 'Did you mean "temperature"'),
    ("/generate", {"model": MODEL, "temperature": "hot"}, 400, "temperature is 'hot'; expected a number from 0 to 4"),
    ("/generate", b'{"model": "small", "temperature": NaN}', 400, "temperature is nan"),
    ("/generate", b'{"model": "small", "seed": 1e999}', 400, "seed is inf"),
    ("/generate", {"model": MODEL, "length": True}, 400, "length is True"),
    ("/generate", {"model": MODEL, "top_k": 2.5}, 400, "top_k is 2.5"),
    ("/generate", {"model": MODEL, "tokens": "x"}, 400, "tokens is 'x'; expected a list"),
    ("/generate", {"model": MODEL, "tokens": [10**30]}, 400, "which is no id"),
    ("/generate", {"model": MODEL, "tokens": [100_000]}, 400, "expected ids of music"),
    ("/generate", {"model": MODEL, "tokens": [[1, 2]]}, 400, "expected a whole number"),
    ("/generate", {"model": MODEL, "tokens": [3] * 9000}, 400, "expected at most"),
    ("/generate", {"model": MODEL, "controls": {"mood": "sad"}}, 400, "this model was trained without controls"),
    ("/score", {"model": MODEL, "tokens": [-1]}, 400, "expected ids of the model's vocabulary"),
    ("/export", {"model": MODEL, "tokens": [], "format": "mp3"}, 400, "mp3"),
    ("/prompt", {"model": MODEL, "notes": []}, 400, "0 notes"),
    ("/prompt", {"model": MODEL, "notes": [[0, 1, 60]]}, 400, "expected [beat, beats, pitch, velocity]"),
    ("/prompt", {"model": MODEL, "notes": [[0, 1, 200, 80]]}, 400, "pitch from 0 to 127"),
    (f"/prompt?model={MODEL}&name=x.mid", b"MThd nothing", 400, "cannot be read"),
    (f"/prompt?model={MODEL}&name=x.exe", b"MZ", 400, "its ending is"),
    (f"/prompt?model={MODEL}&name=x.mid", b"", 400, "it is empty"),
    ("/prompt?model=none&name=x.mid", b"x", 400, "there is no model"),
    ("/fill", {"model": MODEL, "tokens": [], "first": 3}, 400, "bars 3 to 3 are asked for"),
    ("/nowhere", None, 404, "nothing at this address"),
    ("/../../etc/passwd", None, 404, "nothing at this address"),
    ("/%2e%2e/etc/passwd", None, 404, "nothing at this address"),
    ("/generate", None, 405, "another method"),
]


@pytest.mark.parametrize(("path", "body", "status", "says"), BAD, ids=range(len(BAD)))
def test_wrong_input_is_one_line_of_json(client: Client, path: str, body: Any, status: int, says: str) -> None:
    found, line = client.refused(path, body)
    assert found == status and says in line


def test_nobody_comes_in_without_the_token(client: Client) -> None:
    for path in ("/", "/info", "/generate", "/nowhere", "/?token=wrong", f"/info?token={TOKEN}"):
        status, line = client.refused(path, headers={})
        assert status == 401 and "token" in line
    assert client.refused("/info", headers={"Authorization": "Bearer wrong"})[0] == 401
    evil = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert client.refused("/info", headers=evil)[0] == 403
    status, headers, page = client.ask(f"/?token={TOKEN}", headers={})
    assert status == 200 and b"<title>Studio</title>" in page and TOKEN.encode() not in page
    assert "default-src 'none'" in headers["content-security-policy"]


def test_a_huge_upload_is_refused_before_it_is_held(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port)) as raw:
        start = f"POST /prompt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        raw.sendall((start + "Content-Length: 99999999999\r\n\r\n").encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", client.port)) as raw:  # which does not say how large it is
        raw.sendall((start + "Transfer-Encoding: chunked\r\n\r\n").encode())
        try:
            for _ in range(64):
                raw.sendall(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
        except OSError:
            pass
        raw.settimeout(10)
        assert raw.recv(1000).startswith(b"HTTP/1.1 413")


def test_too_many_streams_are_told_to_come_again_and_leaving_makes_room(client: Client) -> None:
    streams = [client.stream({"model": MODEL, "endless": True}) for _ in range(5)]
    streams.append(client.stream({"model": MODEL, "endless": True, "seed": 77}))
    begun = [next(stream) for stream in streams]
    assert {name for name, _ in begun} == {"start"}
    seeds = [data["seed"] for _, data in begun]
    assert seeds[5] == 77 and len(set(seeds)) == 6, "a seed that nobody gave is told"
    status, line = client.refused("/generate", {"model": MODEL})
    assert status == 503 and "6 pieces" in line
    assert client.ask("/info")[0] == 200
    for stream in streams:
        stream.close()
    until = time.monotonic() + 20
    while client.studio.engine._places and time.monotonic() < until:
        time.sleep(0.05)
    assert client.piece({"model": MODEL, "length": 5})[2][1]["drawn"] <= 5


def test_a_slow_reader_holds_nobody_up_and_little_memory(client: Client) -> None:
    slow = client.stream({"model": MODEL, "endless": True, "seed": 1})
    assert next(slow)[0] == "start"
    time.sleep(1.0)  # in which far more than the queue holds would be drawn
    tokens, _, last = client.piece({"model": MODEL, "length": 100, "seed": 2, "endless": True})
    assert 90 < len(tokens) <= 100 and last[0] == "done"
    [held] = [stream for stream in client.studio.engine._streams if not stream.over and not stream.left]
    assert len(held._events) <= engine.QUEUE + 1
    late = [token for _ in range(30) for token in next(slow)[1]["tokens"]]
    slow.close()
    assert late == client.piece({"model": MODEL, "endless": True, "seed": 1, "length": 2 * len(late)})[0][: len(late)]


def test_a_stream_keeps_to_the_clock_where_that_is_asked(client: Client) -> None:
    began, seconds = time.monotonic(), 0.0
    stream = client.stream({"model": MODEL, "endless": True, "seed": 1, "lead": 20})
    for _, data in stream:  # the first come as fast as they can be drawn, the others by the clock
        assert seconds <= 20 + time.monotonic() - began, "an event came before its time"
        seconds = data["seconds"]
        if seconds > 22:
            break
    stream.close()
    assert seconds > 22


def test_a_reader_who_never_comes_back_loses_the_stream(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    monkeypatch.setattr(engine, "QUEUE", 4)
    player, running = client.studio.players.get(MODEL), client.studio.engine

    async def unread() -> list[Any]:
        asked = GenerateRequest(model=MODEL, seed=1, endless=True)
        wish = replace(player.wish(asked, []), endless=True)
        stream = engine.Stream(player, asked, player.line(wish, []), [])
        await running.open(stream)
        async with asyncio.timeout(30):
            while stream in running._streams:
                await asyncio.sleep(0.02)
        return [event async for event in running.events(stream)]

    events = asyncio.run(unread())
    assert events[-1][0] == "error" and "nobody read" in events[-1][1]["error"]
    assert 4 <= len(events) <= 6 and not running._places


def test_a_model_that_vanishes_is_gone_and_one_that_comes_is_there(tmp_path: Path) -> None:
    runs = golden_runs(tmp_path, MODEL)
    with serving(runs) as client:
        assert client.piece({"model": MODEL, "length": 3})[2][0] == "done"
        stream = client.stream({"model": MODEL, "endless": True})
        next(stream)
        shutil.rmtree(runs / MODEL)
        assert client.refused("/generate", {"model": MODEL}) == (410, f"{MODEL} is there no more; choose another model")
        assert next(stream)[0] == "music"  # what plays goes on
        stream.close()
        golden_runs(tmp_path, "other")
        assert client.json("/info")["models"] == ["other"]
        (runs / "other" / "model" / "model.safetensors").write_bytes(b"damaged")
        assert "was changed since it was written" in client.refused("/generate", {"model": "other"})[1]


def test_an_attack_finds_nothing(client: Client) -> None:
    faults, seen = attack.attack(client, 80, 20)
    assert not faults, faults[:3]
    assert {200, 400, 401, 404, 503} <= set(seen)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train.lr=1"], '"train.lr=1" cannot be changed here; only studio'),
        ([], "there is no trained model in nowhere"),
    ],
)
def test_a_studio_without_a_model_does_not_open(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", "nowhere")
    with pytest.raises(SystemExit) as stop:
        main(["studio", *words])
    assert stop.value.code == 2 and says in capsys.readouterr().err


def test_a_studio_says_the_one_address_that_opens_it_and_closes_behind_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(golden_runs(tmp_path, "b", "a")))
    told: list[Any] = []

    class Running:
        def __init__(self, gate: Any) -> None:
            self.gate = gate

        def run(self, sockets: list[socket.socket]) -> None:
            told.extend([self.gate.token, self.gate.most_bytes, *sockets[0].getsockname()])

    monkeypatch.setattr(wire, "server", Running)
    monkeypatch.setattr(Players, "get", lambda self, name: told.append((name, self.most)))
    with pytest.raises(SystemExit) as stop:
        main(["studio", "--run", "b", "studio.models=2", "studio.upload=2"])
    opened, token, most_bytes, host, port = told
    assert stop.value.code == 0 and opened == ("b", 2) and (most_bytes, host) == (2 << 20, "127.0.0.1")
    assert capsys.readouterr().out == f"studio  http://127.0.0.1:{port}/?token={token}  until Ctrl-C\n"
    assert len(token) >= 32
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HubError, match="give another studio"):
        listening_on(taken.getsockname()[1])
