"""One thread that steps all models: streams of all readers share its steps, and nobody waits for a slow reader.

Events of a stream wait in a bounded queue. When it is full the piece pauses, which costs the others nothing, and goes
on when the reader has caught up; a reader who does not read for a while loses the stream.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from core.contracts.tokenizer import Ids
from core.log import logger
from core.model.interleaving import Company, Drawn, Kept, Line
from core.words import agree, counted
from supervisors.studio.asking import GenerateRequest
from supervisors.studio.listener import Listener
from supervisors.studio.players import Player
from supervisors.studio.states import States

T = TypeVar("T")

QUEUE = 32  # events of a stream that wait for their reader
TOKENS = 16  # of an event, where the reader keeps up
CHUNK = 512  # tokens of a prompt that are read between two steps of the others
KEEP = 64  # tokens between two states that are kept
PATIENCE = 120.0  # seconds that a stream waits for its reader
PAUSE = 1.0  # seconds that a stream waits which is ahead of the clock
LAST = ("done", "error")  # events after which there is none
JOBS = 64  # that wait for the thread at most


class Full(Exception):
    """There is no room for one more; a person may come again."""


class Stream:
    """One piece on its way to a reader. The engine's thread fills it, the reader's loop empties it."""

    def __init__(self, player: Player, asked: GenerateRequest, line: Line, prompt: Ids) -> None:
        """What is asked for, drawn by a line that stands behind the prompt."""
        self.player, self.line, self.prompt, self.length, self.lead = player, line, prompt, asked.length, asked.lead
        self.company: Company | None = None  # while it plays
        self.over = self.left = False  # all is said; the reader has gone
        uncounted = asked.bars and line.wish.grammar is None
        self._counter = player.bar_counter(prompt, asked.bars) if uncounted else None
        self._ids = list(prompt) if self._counter is not None else []
        self.prefix = player.prefix(line.wish)
        self._listener = Listener(player.tokenizer)
        self._tokens: list[Any] = []
        self._events: deque[tuple[str, dict[str, Any]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._there = asyncio.Event()
        self._paused_since = 0.0
        self._ahead, self._given, self._begun = False, 0.0, 0.0
        self._seconds = 0.0  # how far the music goes
        self._sounded = False

    # In the engine's thread.

    def begin(self) -> None:
        """Tells what the prompt says, once it is read."""
        for token in self.prompt:
            self._listener.add(token)
        heard = self._listener.heard()
        self._push("start", {"given": heard.notes, "beats": heard.beats, "seconds": heard.seconds})
        self._given, self._begun = heard.seconds, time.monotonic()

    def take(self, drawn: Drawn, states: States) -> None:
        """One more token, or the end."""
        if drawn.token is None:
            return self.finish("ended" if drawn.ended else "complete")
        self._tokens.append(drawn.token)
        self._listener.add(drawn.token)
        self.prefix.add(drawn.token)
        if self.player.constant and self.company is not None and self.line.drawn % KEEP == 0:
            states.put(self.prefix.key(), self.company.kept(self.line))
        if self._counter is not None:
            self._ids.append(drawn.token)
            if self._counter(self._ids):
                return self.finish("complete")
        if self.line.drawn == self.length:
            return self.finish("length")
        most = max(TOKENS, len(self._listener) // 32)
        if len(self._tokens) >= most or not self._sounded:
            self._flush()
        return None

    def finish(self, why: str) -> None:
        """The last event: the model ended, its bars or tokens are used up, or it was cut at its length."""
        self._flush()
        self._push("done", {"why": why, "drawn": self.line.drawn})
        self.over = True

    def fail(self, error: BaseException) -> None:
        """The last event of a stream that cannot go on."""
        if not isinstance(error, ValueError):
            logger.error("a stream of the studio failed", exc_info=error)
        self._push("error", {"error": " ".join(str(error).split()) or type(error).__name__})
        self.over = True

    @property
    def full(self) -> bool:
        """Whether the reader has to catch up first."""
        if len(self._events) < (QUEUE if self._paused_since == 0 else QUEUE // 2):
            self._paused_since = 0.0
            return False
        self._paused_since = self._paused_since or time.monotonic()
        return True

    @property
    def ahead(self) -> bool:
        """Whether the music is further ahead of the clock than was asked for; then it waits for some seconds."""
        if self.lead:
            ahead = self._seconds - self._given - (time.monotonic() - self._begun)
            self._ahead = ahead > (self.lead - PAUSE if self._ahead else self.lead)
        return self._ahead

    @property
    def forsaken(self) -> bool:
        """Whether nobody has read for too long."""
        return self._paused_since > 0 and time.monotonic() - self._paused_since > PATIENCE

    def _flush(self) -> None:
        heard = self._listener.heard()
        self._seconds = heard.seconds
        self._sounded = self._sounded or bool(heard.notes)
        tokens, self._tokens = self._tokens, []
        if tokens:
            self._push(
                "music",
                {
                    "tokens": tokens,
                    "notes": heard.notes,
                    "gone": heard.gone,
                    "beats": heard.beats,
                    "seconds": heard.seconds,
                },
            )

    def _push(self, kind: str, data: dict[str, Any]) -> None:
        self._events.append((kind, data))
        if not self.left:
            self._loop.call_soon_threadsafe(self._there.set)

    # In the reader's loop.

    async def events(self, wake: Callable[[], None]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Name and data of each event until the last."""
        while True:
            self._there.clear()
            while self._events:
                event = self._events.popleft()
                if len(self._events) == QUEUE // 2 - 1:
                    wake()
                yield event
                if event[0] in LAST:
                    return
            await self._there.wait()


class Engine:
    """The thread and what it plays."""

    def __init__(self, most_streams: int, most_bytes: int) -> None:
        self.most_streams, self.states = most_streams, States(most_bytes)
        self._streams: list[Stream] = []
        self._companies: dict[Any, Company] = {}
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._woken = threading.Condition()
        self._asked = self._closed = False
        self._places = 0  # streams that were let in and have not left
        self._thread = threading.Thread(target=self._run, name="studio engine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; streams end where they are."""
        self._closed = True
        self.wake()
        self._thread.join(timeout=30)

    def wake(self) -> None:
        """Something has changed."""
        with self._woken:
            self._asked = True
            self._woken.notify()

    async def run(self, job: Callable[[], T]) -> T:
        """What a function gives that runs between two steps; Full where too many wait."""
        if len(self._jobs) >= JOBS:
            raise Full("too many requests wait for the models; come again in a moment")
        future: Future[T] = Future()
        self._jobs.append((job, future))
        self.wake()
        return await asyncio.wrap_future(future)

    async def read(self, line: Line, prompt: Ids, capacity: int, kept: tuple[int, Kept] | None = None) -> None:
        """Has a line read its prompt a part at a time, from token n on where (n, state) is `kept`."""
        first, state = kept or (CHUNK, None)
        if state is None:
            await self.run(lambda: line.begin(prompt[:CHUNK], capacity))
        else:
            await self.run(lambda: line.resume(state))
        for start in range(first, len(prompt), CHUNK):
            await self.run(lambda start=start: line.read(prompt[start : start + CHUNK]))  # type: ignore[misc]

    async def open(self, stream: Stream) -> None:
        """Has a stream read its prompt, from the nearest state that is kept, and play; Full where so many play."""
        if self._places >= self.most_streams:
            playing = f"{counted(self.most_streams, 'piece')} {agree(self.most_streams, 'is', 'are')} playing"
            raise Full(f"{playing}, which is all there is room for; come again later")
        self._places += 1
        try:
            prompt = stream.prompt
            capacity = stream.player.capacity(len(prompt), stream.length)
            kept = await self.run(lambda: self.states.longest(stream.prefix, prompt))
            await self.read(stream.line, prompt, capacity, kept)
            await self.run(lambda: self._begin(stream))
        except BaseException:
            self.leave(stream)
            raise

    async def events(self, stream: Stream) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """The events of an open stream; its place is free when they end, or are left."""
        try:
            async for event in stream.events(self.wake):
                yield event
        finally:
            self.leave(stream)

    def leave(self, stream: Stream) -> None:
        """The reader of a stream that was let in has gone, and its place is free; to say so again changes nothing."""
        if not stream.left:
            stream.left = True
            self._places -= 1
            self.wake()

    # In the thread.

    def _begin(self, stream: Stream) -> None:
        stream.begin()
        self._streams.append(stream)

    def _run(self) -> None:
        while not self._closed:
            self._work_off()
            self._seat()
            playing = [company for company in self._companies.values() if company.lines]
            for company in playing:
                self._step(company)
            if not playing:
                with self._woken:
                    if not self._asked and not self._jobs:
                        self._woken.wait(timeout=0.1 if self._streams else None)
                    self._asked = False

    def _work_off(self) -> None:
        for _ in range(len(self._jobs)):
            job, future = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

    def _seat(self) -> None:
        """Lets streams leave that are over or left, and pauses and resumes the others."""
        for stream in list(self._streams):
            if stream.forsaken:
                stream.fail(ValueError(f"nobody read for {PATIENCE:.0f} seconds"))
            gone = stream.over or stream.left
            plays = stream.company is not None
            wanted = not gone and not stream.full and not stream.ahead
            if plays and not wanted:
                assert stream.company is not None
                if stream.company in self._companies.values() and stream.line in stream.company.lines:
                    stream.company.leave(stream.line)
                stream.company = None
            elif wanted and not plays:
                shapes = tuple((key, value.shape[1:]) for key, value in stream.line.state.items())
                key = (stream.player.key, shapes)
                stream.company = self._companies.setdefault(key, Company(stream.player.model))
                stream.company.join(stream.line)
            if gone:
                self._streams.remove(stream)
        self._companies = {key: company for key, company in self._companies.items() if company.lines}

    def _step(self, company: Company) -> None:
        members = {id(stream.line): stream for stream in self._streams if stream.company is company}
        try:
            drawn = company.step()
        except Exception as error:  # of one model; the others go on
            for stream in members.values():
                stream.fail(error)
            self._companies = {key: other for key, other in self._companies.items() if other is not company}
            return
        for one in drawn:
            stream = members[id(one.line)]
            try:
                stream.take(one, self.states)
            except Exception as error:
                stream.fail(error)
