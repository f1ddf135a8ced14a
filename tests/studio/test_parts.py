"""Parts of the studio by themselves: who comes in, which models are held, what a request means, which way is taken."""

import asyncio
import itertools
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import symusic
import torch

from core.errors import HubError
from core.model.conditioning import Known
from core.model.interleaving import Wish
from core.model.sampling import Sampling
from datatools.workers.pool import Failure
from hparams.base import GenerateHParams
from supervisors.studio import door, filling, players, reading
from supervisors.studio.asking import DrawRequest, FillRequest, GenerateRequest, ranges, request, tokens_of
from supervisors.studio.door import Door
from supervisors.studio.players import Gone, Player, Players
from tests.made_scores import line, score
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result, from a loop of its own thread: a browser's tests leave one running in this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def answers(
    gate: Door, path: str = "/x", query: str = "", body: tuple[bytes, ...] = (b"",), **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a door answers to a request in parts."""
    parts = [
        {"type": "http.request", "body": part, "more_body": place < len(body) - 1} for place, part in enumerate(body)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    told = [(key.encode(), value.encode()) for key, value in {"host": "localhost", **headers}.items()]
    _run(gate({"type": "http", "path": path, "query_string": query.encode(), "headers": told}, receive, send))
    shown = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], shown, b"".join(one.get("body", b"") for one in sent[1:])


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"own", b"1")]})
    await send({"type": "http.response.body", "body": message["body"]})


BEARER: dict[str, Any] = {"authorization": "Bearer t"}
LENGTH: dict[str, Any] = {"content-length": "100"}
TOO_LONG: dict[str, Any] = {"content-length": "101"}


def test_the_door_lets_in_who_has_the_token_and_comes_by_this_machine_s_name() -> None:
    gate = Door(echo, "t", 100)
    status, headers, body = answers(gate, body=(b"ab", b"c"), **BEARER)
    assert (status, body, headers["own"]) == (200, b"abc", "1") and headers["x-content-type-options"] == "nosniff"
    for host, status in (("localhost:80", 200), ("127.0.0.1", 200), ("localhost:x", 403), ("localhost.evil", 403)):
        assert answers(gate, **{**BEARER, "host": host})[0] == status
    assert answers(gate, "/", "a=b&token=t")[0] == 200 and answers(gate, "/", "token=u")[0] == 401
    assert answers(gate, "/info", "token=t")[0] == 401, "by its address the page alone"
    assert answers(gate, "/", "token=t", authorization="Bearer u")[0] == 401
    assert answers(gate)[0] == 401 and answers(gate, authorization="t")[0] == 200
    assert gate.inside == gate.held == 0


def test_the_door_holds_no_more_than_there_is_room_for() -> None:
    gate = Door(echo, "t", 100)
    assert answers(gate, body=(b"x" * 60, b"x" * 40), **BEARER)[0] == 200
    assert answers(gate, body=(b"x" * 60, b"x" * 41), **BEARER)[0] == 413
    assert answers(gate, **BEARER, **LENGTH)[0] == 200
    assert answers(gate, **BEARER, **TOO_LONG)[0] == 413
    gate.held = door.HELD * 100 - 9
    assert answers(gate, body=(b"x" * 9,), **BEARER)[0] == 200
    assert answers(gate, body=(b"x" * 10,), **BEARER)[0] == 503
    assert gate.held == door.HELD * 100 - 9
    gate.held, gate.inside = 0, door.AT_ONCE - 1
    assert answers(gate, **BEARER)[0] == 200
    gate.inside = door.AT_ONCE
    status, headers, body = answers(gate, **BEARER)
    assert (status, headers["retry-after"]) == (503, "1") and str(door.AT_ONCE) in json.loads(body)["error"]
    assert gate.inside == door.AT_ONCE


def test_a_fault_inside_is_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("secret")

    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        raise door.Refused(409, "a\n b " + "c" * 600)

    status, headers, body = answers(Door(fails, "t", 9), **BEARER)
    assert (status, json.loads(body)) == (500, {"error": "the studio failed at this: KeyError"})
    status, headers, body = answers(Door(refuses, "t", 9), **BEARER)
    said = json.loads(body)["error"]
    assert status == 409 and said.startswith("a b ccc") and len(said) == 500 and "retry-after" not in headers
    assert int(headers["content-length"]) == len(body)


def test_the_model_not_asked_for_longest_goes_and_a_new_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def player(name: str, folder: Path, manager: Any) -> str:
        opened.append(name)
        return f"{name} {len(opened)}"

    monkeypatch.setattr(players, "Player", player)
    for name in ("a", "b", "c", "unfinished"):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        if name != "unfinished":
            (tmp_path / "runs" / name / "model" / "config.json").touch()
    own = tmp_path / "shared" / "z"
    own.mkdir(parents=True)
    (own / "config.json").touch()
    held = Players(None, tmp_path / "runs", own, 2)  # type: ignore[arg-type]
    assert list(held.folders()) == ["z", "a", "b", "c"]
    for name in "abacb":  # when c comes, b is the one not asked for longest
        held.get(name)
    assert opened == ["a", "b", "c", "b"]
    assert held.get("c") == "c 3" and held.get("z") == "z 5" and len(opened) == 5
    config = tmp_path / "runs" / "c" / "model" / "config.json"
    os.utime(config, ns=(1, 1))
    assert held.get("c") == "c 6"
    config.unlink()
    with pytest.raises(Gone, match="c is there no more"):
        held.get("c")
    with pytest.raises(HubError, match=r'no model "bb".* Did you mean "b"'):
        held.get("bb")
    assert Players(None, tmp_path / "nowhere", None, 1).folders() == {}  # type: ignore[arg-type]


def piece_player(constant: bool, most: int) -> Player:
    found: Any = object.__new__(Player)
    found.name, found.constant, found.most, found.key = "x", constant, most, ("x", "weights")
    found.tokenizer = ToyTokenizer()
    return found  # type: ignore[no-any-return]


def test_room_is_a_power_of_two_and_too_much_is_refused() -> None:
    bounded = piece_player(False, 1024)
    for prompt, length, room in ((0, 10, 64), (0, 63, 64), (0, 64, 128), (100, 155, 256), (100, 156, 512)):
        assert bounded.capacity(prompt, length) == room
    assert bounded.capacity(5, 0) == 1024 and bounded.capacity(24, 1000) == 1024
    for prompt, length in ((24, 1001), (1024, 0)):
        with pytest.raises(HubError, match=f"{prompt + length:,} tokens are too many for x; expected at most 1,024"):
            bounded.capacity(prompt, length)
    free = piece_player(True, 1024)
    assert free.capacity(1023, 10**6) == free.capacity(0, 0) > 10**9
    with pytest.raises(HubError, match="too many"):
        free.capacity(1024, 0)


@pytest.mark.parametrize(("most", "found"), [(10**6, 8192), (1000, 512), (512, 512), (10, 64)])
def test_a_model_whose_memory_grows_says_how_much_it_holds(most: int, found: int) -> None:
    def room(batch: int, length: int) -> dict[str, Any]:
        if length > most:
            raise ValueError("too long")
        return {}

    player: Any = piece_player(False, 0)
    player.model = SimpleNamespace(init_state=room)
    assert player._longest() == found


def test_states_are_those_of_pieces_that_know_the_same() -> None:
    player = piece_player(True, 9)

    def key(known: Known | None, rows: int = 1, of: Player = player) -> bytes:
        wish: Any = SimpleNamespace(known=known, rows=rows)
        return of.prefix(wish).key()

    one = Known(torch.tensor([[[1.0]]]), torch.tensor([[[True]]]))
    other, absent = one._replace(values=torch.tensor([[[2.0]]])), one._replace(given=torch.tensor([[[False]]]))
    newer = piece_player(True, 9)
    newer.key = ("x", "other weights")
    keys = [key(None), key(one), key(other), key(absent), key(one, 2), key(None, of=newer)]
    assert len(set(keys)) == 6 and key(one) == keys[1]


def test_a_request_has_the_defaults_of_generate_and_its_ranges_hold() -> None:
    found = request(GenerateRequest, {"model": "m"})
    usual = GenerateHParams()
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "guidance"):
        assert getattr(found, name) == getattr(usual, name)
    assert (found.length, found.bars, found.lead, found.row, found.endless, found.tokens) == (0, 0, 0.0, 0, False, [])
    assert 0 <= found.seed < 10**9 and len({request(DrawRequest, {"model": "m"}).seed for _ in range(9)}) > 1
    fill = request(FillRequest, {"model": "m", "seed": 4})
    assert (fill.first, fill.count, fill.ways, fill.seed) == (0, 1, 8, 4)
    whole = request(GenerateRequest, {"model": "m", "temperature": 1, "lead": 3})
    assert type(whole.temperature) is float and type(whole.lead) is float
    for name, least, most in (
        ("temperature", 0, 4), ("top_p", 0.01, 1), ("min_p", 0, 1), ("repetition_penalty", 1, 4), ("guidance", 0, 10),
        ("seed", 0, 10**9 - 1), ("length", 0, 100_000), ("bars", 0, 512), ("lead", 0, 3600),
    ):  # fmt: skip
        assert (ranges()[name]["least"], ranges()[name]["most"]) == (least, most)
        for value in (least, most):
            assert getattr(request(GenerateRequest, {"model": "m", name: value}), name) == value
        wrong: list[Any] = [least - 1, most + 1, math.nan, None, "1"]
        for value in wrong:
            with pytest.raises(HubError, match=f"{name} is "):
                request(GenerateRequest, {"model": "m", name: value})
    assert ranges()["top_k"]["whole"] and not ranges()["top_p"]["whole"] and ranges()["seed"]["default"] is None
    assert tokens_of([1, 2], 1, 2) == [1, 2] and tokens_of([[1, 2]], 2, 1) == [[1, 2]]
    for tokens, streams in (([1, 2, 3], 1), ([[1]], 2), ([True], 1), ([2**31], 1), ([1.0], 1)):
        with pytest.raises(HubError, match="tokens "):
            tokens_of(tokens, streams, 2)


class Opening(ToyTokenizer):
    def opening(self, ids: list[int]) -> list[int]:
        return [*ids, STEP]


def test_clicked_notes_are_music_at_their_tempo() -> None:
    piece = reading.of_notes([[0, 1.5, 60, 80], [2.25, 0.0001, 64, 127]], 90.0).score
    notes = [(n.time, n.duration, n.pitch, n.velocity) for n in piece.tracks[0].notes]
    quarter = piece.tpq
    assert notes == [(0, 1.5 * quarter, 60, 80), (2.25 * quarter, 1, 64, 127)]
    assert [tempo.qpm for tempo in piece.tempos] == pytest.approx([90.0], rel=1e-5)
    assert [(m.numerator, m.denominator) for m in piece.time_signatures] == [(4, 4)]
    for note in ([0, 0, 60, 80], [-1, 1, 60, 80], [4096, 1, 60, 80], [0, 1, 60, 0], [0, 1, 128, 80], [0, True, 60, 80]):
        with pytest.raises(HubError, match="a note is"):
            reading.of_notes([note], 90.0)
    told = reading.of_notes([[0, 1, 60, 80], [1, 1, 62, 80]], 90.0)
    assert reading.as_prompt(Opening(), told) == [PITCH + 60, STEP, PITCH + 62, STEP]  # type: ignore[arg-type]
    assert reading.as_prompt(ToyTokenizer(), told) == [PITCH + 60, STEP, PITCH + 62]  # type: ignore[arg-type]


@pytest.mark.parametrize(("point", "taken"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.999999, 2)])
def test_a_way_is_taken_as_often_as_it_makes_the_rest_likely(
    point: float, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three ways after which the rest has chances as 5 to 3 to 2; two others do not fit."""
    costs = {f"line {k}": -math.log(share) for k, share in enumerate((0.05, 0.03, 0.02))}
    ways = [("line 0", [20, 7, 9]), ("line 1", [21, 7, 9]), ("line 2", [22, 7, 9])]
    ways = [("long", [20, 7, 8]), *ways[:2], ("loud", [99, 7, 9]), ways[2]]
    asked: list[Any] = []

    async def drawn(engine: Any, player: Any, wish: Any, before: Any, count: int) -> Any:
        asked.append((wish, before, count))
        return ways

    async def run(job: Any) -> Any:
        return job()

    wish = SimpleNamespace(grammar=None)
    monkeypatch.setattr(filling, "replace", lambda wish, **given: SimpleNamespace(**vars(wish) | given))
    monkeypatch.setattr(filling, "_bars", lambda player, tokens: [k for k, id in enumerate(tokens) if id in (7, 8)])
    monkeypatch.setattr(filling, "_outside", lambda player, tokens, asked: "loud" if 99 in tokens else "same")
    monkeypatch.setattr(filling, "_ways", drawn)

    def cost(player: Any, line: str, after: Any) -> float:
        asked.append(after)
        return costs[line]

    monkeypatch.setattr(filling, "_cost", cost)
    seeds: list[Any] = []

    def generator(*parts: Any) -> Any:
        seeds.append(parts)
        return SimpleNamespace(random=lambda: point)

    monkeypatch.setattr(filling, "generator", generator)
    player: Any = SimpleNamespace(name="x", wish=lambda asked, before: wish, grammar_of=lambda bars: f"to bar {bars}")
    engine: Any = SimpleNamespace(run=run)
    tokens = [7, 10, 7, 11, 7, 12, 7, 13]  # bars begin with a token of their own, which the way does not repeat
    found = _run(filling.filled(engine, player, FillRequest(model="x", first=1, count=2, ways=5, seed=9), tokens))
    assert asked[0][0].grammar == "to bar 3" and asked[0][1:] == ([7, 10, 7], 5)
    assert asked[1:] == [[7, 13]] * 3
    assert seeds == [("fill", "9")] and found["ways"] == 3 and found["seed"] == 9
    assert found["tokens"] == [7, 10, 7, 20 + taken, 7, 9, 7, 13]
    assert found["nats"] == pytest.approx(costs[f"line {taken}"])


def test_what_follows_is_judged_behind_its_bar_line_and_no_further_than_256_tokens() -> None:
    told: list[Any] = []

    def loss(ids: Any, targets: Any, state: Any, known: Any) -> Any:
        told.append((ids[0].tolist(), targets[0].tolist(), {key: part.tolist() for key, part in state.items()}, known))
        return torch.full(targets.shape, 0.5), None

    player: Any = SimpleNamespace(model=SimpleNamespace(loss=loss))
    line: Any = SimpleNamespace(device="cpu", state={"s": torch.tensor([[1.0], [2.0]])}, known=None)
    assert filling._cost(player, line, list(range(300))) == 255 * 0.5
    assert told == [(list(range(255)), list(range(1, 256)), {"s": [[1.0]]}, None)], "of two rows the one that knows"
    line.known = Known(torch.tensor([[[3.0]], [[3.0]]]), torch.tensor([[[True]], [[False]]]))
    assert filling._cost(player, line, [7, 8]) == 0.5 and told[1][:2] == ([7], [8])
    assert (told[1][3].values.tolist(), told[1][3].given.tolist()) == ([[[3.0]]], [[[True]]])
    assert filling._cost(player, line, [7]) == 0.0 and len(told) == 2


def test_ways_are_rows_that_all_begin_where_the_first_has_read_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three ways the second never ends."""
    told: list[Any] = []

    class Company:
        def __init__(self, model: Any) -> None:
            self.lines: list[Any] = []

        def join(self, line: Any) -> None:
            self.lines.append(line)

        def step(self) -> list[Any]:
            drawn = [SimpleNamespace(line=line, token=next(line.tokens, None)) for line in self.lines]
            self.lines = [one.line for one in drawn if one.token is not None]
            return drawn

    def made(wish: Any, before: Any) -> Any:
        tokens = iter([10, 11]) if wish.row == 0 else iter([]) if wish.row == 2 else itertools.repeat(7)
        line = SimpleNamespace(row=wish.row, tokens=tokens, hidden="hidden", state="state")
        line.resume = lambda kept: told.append((line.row, kept.hidden, kept.state))
        return line

    async def read(line: Any, before: Any, capacity: int) -> None:
        told.append((line.row, before, capacity))

    async def work(job: Any) -> Any:
        return job()

    monkeypatch.setattr(filling, "Company", Company)
    monkeypatch.setattr(filling, "MOST", 5)
    player: Any = SimpleNamespace(model=None, line=made, capacity=lambda prompt, length: (prompt, length))
    engine: Any = SimpleNamespace(read=read, run=work)
    ways = _run(filling._ways(engine, player, Wish(Sampling()), [1, 2, 3], 3))
    assert [(line.row, tokens) for line, tokens in ways] == [(0, [10, 11]), (2, [])]
    assert told == [(0, [1, 2, 3], (3, 5 + 256)), *((row, "hidden", "state") for row in range(3))]


def test_a_grammar_counts_what_the_prompt_holds_and_is_made_once() -> None:
    asked: list[Any] = []

    class Barred(ToyTokenizer):
        def bar_starts(self, ids: list[int]) -> list[int]:
            return list(range(0, len(ids), 2))

        def grammar(self, bars: int = 0, length: int = 0) -> Any:
            asked.append((bars, length))
            return f"{bars} {length}"

    player: Any = piece_player(True, 9)
    player.tokenizer, player._grammars, player._grammar_lock = Barred(), OrderedDict(), threading.Lock()
    for prompt, length, bars, found in (
        ([1, 2, 3], 10, 4, "6 13"), ([1, 2, 3], 0, 4, "6 0"), ([1, 2, 3], 10, 0, "0 13"), ([], 10, 4, "4 10"),
        ([], 0, 0, "0 0"), ([1, 2, 3], 10, 4, "6 13"),
    ):  # fmt: skip
        assert player.grammar(prompt, length, bars) == found
    assert asked == [(6, 13), (6, 0), (0, 13), (4, 10), (0, 0)]
    for bars in range(20, 20 + players.GRAMMARS):
        player.grammar_of(bars)
    assert len(player._grammars) == players.GRAMMARS and player.grammar([], 0, 0) == "0 0" and asked[-1] == (0, 0)
    count = player.bar_counter([1, 2, 3], 2)
    assert not count([1] * 8) and count([1] * 9), "the fifth bar is one too many behind two"


def test_a_file_that_is_sent_is_its_music_and_its_own_text() -> None:
    def reader(found: Any) -> Any:
        made = object.__new__(reading.Reader)
        made._lock = threading.Lock()
        made._seat = SimpleNamespace(run=lambda path: found(path) if callable(found) else found, look=lambda: None)
        return made

    text = "X:1\nL:1/4\nK:C\n_DD|\n"
    piece = reader(("T", score(line([61, 61])), text)).read("../a.ABC", b"x")
    assert "_D D |" in piece.abc and piece.title == "T", "spelled as it was"
    midi = reader(("T", score(line([60, 62])), None)).read("b.mid", b"x")
    assert midi.score.note_num() == 2 and (midi.source, midi.title) == ("sent.mid", "T")
    sent: list[bytes] = []
    reader(lambda path: sent.append(Path(path).read_bytes()) or ("", midi.score, None)).read("c.mid", b"bytes")
    assert sent == [b"bytes"]
    many = score(line([60] * 3))
    for found, said in (
        (lambda path: Failure(f"{path} is cut short"), "^the file cannot be read: it is cut short$"),
        (("T", many, None), "the file has 3 notes; expected at most 2"),
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(HubError, match=said):
            patch.setattr(reading, "MOST_NOTES", 2)
            reader(found).read("d.mid", b"")


def test_notes_outside_the_marked_bars_are_counted_from_where_these_end() -> None:
    def outside(of: symusic.Score, first: int, count: int) -> Any:
        decoder = SimpleNamespace(decode=lambda tokens: SimpleNamespace(score=of))
        player: Any = SimpleNamespace(lock=threading.Lock(), tokenizer=decoder)
        return filling._outside(player, [], FillRequest(model="x", first=first, count=count))

    four = score(line(range(60, 76)))  # four bars of four quarters
    found = outside(four, 1, 2)
    assert sorted((where, time // 480, pitch) for where, time, _, _, pitch, *_ in found) == [
        ("after", k, 72 + k) for k in range(4)
    ] + [("before", k, 60 + k) for k in range(4)]
    same = score([*line(range(60, 64)), *line(range(30, 38), begin=4), *line(range(72, 76), begin=12)])
    assert outside(same, 1, 2) == found, "what stands in the marked bars is nobody's business"
    louder = four.copy()
    louder.tracks[0].notes[0].velocity = 1
    assert outside(louder, 1, 2) != found and not outside(four, 0, 4)
    assert {where for where, *_ in outside(four, 3, 1)} == {"before"}
