"""A stream by itself: when it speaks, waits and ends; how the engine reads prompts; what a piece is shown as."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import symusic

from core.errors import HubError
from core.log import logger
from core.model.interleaving import Drawn, Wish
from core.model.sampling import Sampling
from supervisors.studio import engine, music
from supervisors.studio.asking import GenerateRequest
from supervisors.studio.engine import Engine, Full, Stream
from supervisors.studio.states import Prefix
from tests.made_scores import line, score
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result, from a loop of its own thread: a browser's tests leave one running in this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def stream_of(grammar: Any = None, **asked: Any) -> Stream:
    """A stream behind the prompt of one C, which lasts half a second."""
    counters: list[Any] = []
    player: Any = SimpleNamespace(
        tokenizer=ToyTokenizer(),
        constant=True,
        prefix=lambda wish: Prefix("root"),
        bar_counter=lambda prompt, bars: counters.append((prompt, bars)) or (lambda ids: ids.count(STEP) > bars),
        counters=counters,
    )
    drawing: Any = SimpleNamespace(wish=Wish(Sampling(), grammar=grammar), drawn=0)
    return Stream(player, GenerateRequest(model="m", **asked), drawing, [PITCH + 60])


def take(stream: Stream, *tokens: int | None, states: Any = None, ended: bool = False) -> None:
    for token in tokens:
        stream.line.drawn += 1
        stream.take(Drawn(stream.line, token, ended), states)


def told(stream: Stream) -> list[tuple[str, Any]]:
    """What stands in the queue: tokens of music, and all of other events; it is empty afterwards."""
    found = [(kind, data.get("tokens", data)) for kind, data in stream._events]
    stream._events.clear()
    return found


def test_music_is_told_at_once_until_it_sounds_and_then_sixteen_tokens_together() -> None:
    async def work() -> None:
        stream = stream_of(length=22)
        stream.begin()
        [(kind, start)] = told(stream)
        assert kind == "start" and [note.pitch for note in start["given"]] == [60]
        assert (start["beats"], start["seconds"]) == (1.0, 0.5)
        take(stream, STEP, STEP, PITCH + 62)
        assert told(stream) == [("music", [STEP]), ("music", [STEP]), ("music", [PITCH + 62])]
        more = [STEP, PITCH + 64] * 8
        take(stream, *more[:15])
        assert told(stream) == []
        take(stream, more[15], STEP, STEP)
        assert told(stream) == [("music", more)] and not stream.over
        take(stream, PITCH + 65)
        assert told(stream) == [("music", [STEP, STEP, PITCH + 65]), ("done", {"why": "length", "drawn": 22})]
        assert stream.over

    run(work())


def test_a_piece_ends_for_a_reason() -> None:
    async def work() -> None:
        for ended, why in ((True, "ended"), (False, "complete")):
            stream = stream_of()
            take(stream, PITCH + 62)
            take(stream, None, ended=ended)
            assert told(stream) == [("music", [PITCH + 62]), ("done", {"why": why, "drawn": 2})] and stream.over
        barred = stream_of(bars=2)
        assert barred.player.counters == [([PITCH + 60], 2)]  # type: ignore[attr-defined]
        take(barred, STEP, STEP)
        assert not barred.over
        take(barred, STEP)
        assert told(barred)[-2:] == [("music", [STEP]), ("done", {"why": "complete", "drawn": 3})]
        for counted in (stream_of(grammar="counts by itself", bars=2), stream_of()):
            take(counted, *[STEP] * 9)
            assert not counted.over and not counted.player.counters  # type: ignore[attr-defined]

    run(work())


def test_a_state_is_kept_every_64_tokens_under_all_that_was_read() -> None:
    async def work() -> None:
        kept: list[Any] = []
        states = SimpleNamespace(put=lambda key, state: kept.append((key, state)))
        stream = stream_of()
        stream.company = SimpleNamespace(kept=lambda drawing: drawing.drawn)  # type: ignore[assignment]
        take(stream, *[STEP] * 130, states=states)
        prefix, wanted = Prefix("root"), []
        for count in range(1, 131):
            prefix.add(STEP)
            if count in (64, 128):
                wanted.append((prefix.key(), count))
        assert kept == wanted
        stream.player.constant = False
        take(stream, *[STEP] * 64, states=states)
        assert len(kept) == 2, "states that grow with the piece are not kept"

    run(work())


def test_a_reader_who_is_slow_or_behind_the_clock_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def work() -> None:
        stream = stream_of(lead=2.0)
        stream.begin()
        stream._seconds = 3.0  # of which half a second was the prompt
        seen = []
        for now[0] in (10.0, 10.9, 11.4, 11.6, 11.0):
            seen.append(stream.ahead)
        assert seen == [True, True, True, False, False], "until it is a second less ahead than it may be"
        assert not stream_of().ahead
        for _ in range(30):
            stream._push("music", {})
        assert not stream.full and not stream.forsaken
        now[0] = 100.0
        stream._push("music", {})
        assert stream.full and not stream.forsaken
        now[0] = 220.0
        assert stream.full and not stream.forsaken
        now[0] = 220.5
        assert stream.forsaken
        while len(stream._events) > 16:
            stream._events.popleft()
        assert stream.full, "half of the queue must be free first"
        stream._events.popleft()
        assert not stream.full and not stream.forsaken

        woken: list[int] = []
        other = stream_of()
        for number in range(32):
            other._push("music", {"number": number})
        other.fail(ValueError("two\n words"))
        heard = [event async for event in other.events(lambda: woken.append(len(other._events)))]
        assert [data.get("number") for _, data in heard[:32]] == list(range(32))
        assert heard[32:] == [("error", {"error": "two words"})] and woken == [15]

    run(work())


def test_what_failed_is_said_and_only_a_fault_of_ours_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)

    async def work() -> None:
        for error, said, logged in ((ValueError("no music"), "no music", 0), (KeyError(), "KeyError", 1)):
            caplog.clear()
            stream = stream_of()
            with caplog.at_level(logging.ERROR):
                stream.fail(error)
            assert told(stream) == [("error", {"error": said})] and stream.over and len(caplog.records) == logged

    run(work())


class Reader:
    """A line that notes what it is told to read."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, tokens: list[int], capacity: int) -> None:
        self.told.append(("begin", tokens[0], len(tokens), capacity))

    def resume(self, state: Any) -> None:
        self.told.append(("resume", state))

    def read(self, tokens: list[int]) -> None:
        self.told.append(("read", tokens[0], len(tokens)))


def test_prompts_are_read_in_parts_and_places_are_counted() -> None:
    async def work(thread: Engine) -> None:
        whole, rest = Reader(), Reader()
        await thread.read(whole, list(range(1200)), 2048)  # type: ignore[arg-type]
        await thread.read(rest, list(range(1200)), 2048, (100, "a state"))  # type: ignore[arg-type]
        assert whole.told == [("begin", 0, 512, 2048), ("read", 512, 512), ("read", 1024, 176)]
        assert rest.told == [("resume", "a state"), ("read", 100, 512), ("read", 612, 512), ("read", 1124, 76)]
        stream = stream_of()

        def refused(prompt: int, length: int) -> int:
            raise HubError(f"{prompt} tokens are too many")

        stream.player.capacity = refused  # type: ignore[method-assign]
        with pytest.raises(HubError, match=r"^1 tokens are too many$"):
            await thread.open(stream)
        assert thread._places == 0 and stream.left
        thread.leave(stream)
        assert thread._places == 0, "nobody leaves twice"
        thread._places = 2
        with pytest.raises(Full, match="2 pieces are playing"):
            await thread.open(stream_of())
        assert thread._places == 2
        gate, begun = threading.Event(), threading.Event()
        first = asyncio.ensure_future(thread.run(lambda: (begun.set(), gate.wait(10))))
        await asyncio.sleep(0)
        begun.wait(10)
        waiting = [asyncio.ensure_future(thread.run(lambda n=n: n)) for n in range(engine.JOBS)]  # type: ignore[misc]
        await asyncio.sleep(0)
        with pytest.raises(Full, match="too many requests wait"):
            await thread.run(lambda: None)
        gate.set()
        assert await asyncio.gather(*waiting) == list(range(64)) and (await first)[1]

    thread = Engine(2, 1000)
    try:
        run(work(thread))
    finally:
        thread.close()


def test_a_piece_is_shown_in_bars_with_their_seconds_and_tokens() -> None:
    """Five quarters of a waltz: a bar at 60 a minute, the next at 120; the tokenizer knows where the first begins."""
    piece = score(line([60, 62, 64, 65, 67]), meter="3/4")
    piece.tempos = [symusic.Tempo(0, 60), symusic.Tempo(3 * 480, 120)]
    tokenizer = SimpleNamespace(decode=lambda ids: SimpleNamespace(score=piece), bar_starts=lambda ids: [0])
    player: Any = SimpleNamespace(tokenizer=tokenizer, lock=threading.Lock())
    found = music.shown(player, [1, 2, 3])
    assert found["bars"] == [[0.0, 0.0, 0], [3.0, 3.0, None]]
    assert (found["beats"], found["seconds"]) == (5.0, 4.0)
    assert [(note.start, note.length) for note in found["notes"]] == [(0, 1), (1, 1), (2, 1), (3, 0.5), (3.5, 0.5)]
    del tokenizer.bar_starts
    assert [bar[2] for bar in music.shown(player, [1])["bars"]] == [None, None]


def test_a_piece_too_long_for_sound_can_be_had_as_notes() -> None:
    long = score([(0, 1, 60), (1200, 2, 62)])  # at 120 a minute
    player: Any = SimpleNamespace(
        tokenizer=SimpleNamespace(decode=lambda ids: SimpleNamespace(score=long, title="", source="x")),
        lock=threading.Lock(),
    )
    with pytest.raises(HubError, match="the piece lasts 601 s; expected at most 600 to be made sound"):
        music.exported(player, [1], "wav", "t")
    content, media, ending = music.exported(player, [1], "mid", "t")
    assert content.startswith(b"MThd") and (media, ending) == ("audio/midi", ".mid")
    assert music.exported(player, [1], "abc", "t")[1:] == ("text/plain; charset=utf-8", ".abc")
