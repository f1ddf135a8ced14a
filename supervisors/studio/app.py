"""What the studio answers: the page, and the API that the page itself uses; README.md tells it to others."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import HubError
from datatools.reading import scores
from datatools.writing import formats
from hparams.studio import StudioHParams
from supervisors.studio import filling, music, reading
from supervisors.studio.asking import DrawRequest, FillRequest, GenerateRequest, ranges, request, tokens_of
from supervisors.studio.door import App, Door, Receive, Refused, Scope, Send, as_answer
from supervisors.studio.engine import Engine, Full, Stream
from supervisors.studio.page.page import page
from supervisors.studio.players import MOST, Gone, Player, Players

R = TypeVar("R")
MOST_TOKENS = 20_000  # of a piece that is shown, scored or written
DEEPEST = 32  # lists and objects in each other, of a request
WAITING = 8  # files that are read or written, or wait for it
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(kw_only=True)
class PieceRequest:
    """A piece of a model."""

    model: str
    tokens: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class ExportRequest(PieceRequest):
    """A piece as a file."""

    format: str


@dataclass(kw_only=True)
class KeepRequest(PieceRequest):
    """A piece to keep, and whatever the page knows of how it came about."""

    about: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class PromptRequest:
    """Notes to go on from: [beat, beats, pitch, velocity], in quarters, in 4/4."""

    model: str
    notes: list[Any]
    tempo: float = field(default=120.0, metadata={"least": 20, "most": 300, "step": 1})


class Playing(StreamingResponse):
    """Events whose place is free when the answer ends, also where the reader left before the first of them."""

    def __init__(self, events: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


class Studio:
    """The routes and what they share."""

    def __init__(self, players: Players, asked: StudioHParams) -> None:
        self.players, self.asked = players, asked
        self.engine = Engine(asked.streams, asked.memory << 20)
        self.reader = reading.Reader()
        self._turn, self._waiting = asyncio.Semaphore(1), 0

    def app(self, token: str) -> App:
        """The ASGI application; nothing is answered without `token`."""
        routes = [
            Route("/", _told(self.home)),
            Route("/info", _told(self.info)),
            *(
                Route(f"/{name}", _told(getattr(self, name)), methods=["POST"])
                for name in ("prompt", "generate", "fill", "score", "decode", "export", "keep")
            ),
        ]
        answers = {HTTPException: _nothing, Refused: _refused, Exception: _failed}
        inner = Starlette(routes=routes, exception_handlers=answers)
        inner.router.redirect_slashes = False
        return Door(inner, token, max(round(self.asked.upload * 2**20), 2**20))

    def close(self) -> None:
        """Ends the engine and the reader's process."""
        self.engine.close()
        self.reader.close()

    async def home(self, asked: Request) -> Response:
        """The page."""
        return HTMLResponse(page())

    async def info(self, asked: Request) -> Response:
        """The models, and what may be asked; with ?model=NAME all about that one too."""
        found = {
            "models": list(await run_in_threadpool(self.players.folders)),
            "settings": ranges(),
            "formats": list(formats.FORMATS),
            "reads": sorted(scores.EXTENSIONS),
            "limits": {
                "streams": self.asked.streams,
                "upload_megabytes": self.asked.upload,
                "prompt_tokens": MOST,
                "piece_tokens": MOST_TOKENS,
                "notes": reading.MOST_NOTES,
            },
        }
        if "model" in asked.query_params:
            player = await self._player(asked.query_params["model"])
            found["model"] = player.about()
        return JSONResponse(found)

    async def prompt(self, asked: Request) -> Response:
        """The tokens of a file (the body, with ?model= and ?name=) or of notes (JSON), and their notes and bars."""
        if "name" in asked.query_params:
            player = await self._player(asked.query_params.get("model", ""))
            content, name = await asked.body(), asked.query_params["name"]
            piece = await self._in_turn(self.reader.read, name, content)
        else:
            wish = request(PromptRequest, await _tree(asked))
            player = await self._player(wish.model)
            piece = await run_in_threadpool(reading.of_notes, wish.notes, wish.tempo)

        def told() -> dict[str, Any]:
            with player.lock:
                tokens = reading.as_prompt(player.tokenizer, piece)
            whole = len(tokens)
            tokens = tokens[: min(MOST, player.most) - 1]
            return {"title": piece.title, "tokens": tokens, "cut": whole - len(tokens), **music.shown(player, tokens)}

        return JSONResponse(await run_in_threadpool(told))

    async def generate(self, asked: Request) -> Response:
        """Server-sent events of one piece while it is drawn: start, music ..., done or error."""
        wish = request(GenerateRequest, await _tree(asked))
        player = await self._player(wish.model)
        tokens = tokens_of(wish.tokens, player.model.streams, player.most - 1)
        drawing = await run_in_threadpool(player.wish, wish, tokens, wish.length, wish.bars)
        drawing = replace(drawing, row=wish.row, endless=wish.endless)
        stream = Stream(player, wish, await run_in_threadpool(player.line, drawing, tokens), tokens)
        await self.engine.open(stream)
        return Playing(self._events(stream, wish.seed), lambda: self.engine.leave(stream))

    async def _events(self, stream: Stream, seed: int) -> AsyncIterator[bytes]:
        events = self.engine.events(stream)
        try:
            async for name, data in events:
                told = {"seed": seed, **data} if name == "start" else data
                yield f"event: {name}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n".encode()
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def fill(self, asked: Request) -> Response:
        """A piece with some of its bars drawn anew."""
        wish = request(FillRequest, await _tree(asked))
        player, tokens = await self._piece(wish)
        found = await filling.filled(self.engine, player, wish, tokens)
        return JSONResponse({**found, **await run_in_threadpool(music.shown, player, found["tokens"])})

    async def score(self, asked: Request) -> Response:
        """What a piece costs the model, token by token, in nats."""
        player, tokens = await self._piece(request(PieceRequest, await _tree(asked)))
        return JSONResponse(await music.scored(self.engine, player, tokens))

    async def decode(self, asked: Request) -> Response:
        """Notes and bars of tokens."""
        player, tokens = await self._piece(request(PieceRequest, await _tree(asked)))
        return JSONResponse(await run_in_threadpool(music.shown, player, tokens))

    async def export(self, asked: Request) -> Response:
        """A piece as a file of a format."""
        wish = request(ExportRequest, await _tree(asked))
        player, tokens = await self._piece(wish)
        content, media, ending = await self._in_turn(music.exported, player, tokens, wish.format, player.name)
        headers = {"content-disposition": f'attachment; filename="piece{ending}"'}
        return Response(content, media_type=media, headers=headers)

    async def keep(self, asked: Request) -> Response:
        """A piece as files among the samples of its run; where these lie."""
        wish = request(KeepRequest, await _tree(asked))
        player, tokens = await self._piece(wish)
        files = await run_in_threadpool(music.kept, player, tokens, {"about": wish.about})
        return JSONResponse({"files": list(map(str, files))})

    async def _in_turn(self, function: Callable[..., R], *given: Any) -> R:
        """What takes much memory or long: one after the other, and a few may wait."""
        if self._waiting >= WAITING:
            raise Full("too many files are read and written; come again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await run_in_threadpool(function, *given)
        finally:
            self._waiting -= 1

    async def _player(self, name: str) -> Player:
        return await run_in_threadpool(self.players.get, name)

    async def _piece(self, wish: PieceRequest | DrawRequest) -> tuple[Player, list[Any]]:
        player = await self._player(wish.model)
        tokens = tokens_of(wish.tokens, player.model.streams, min(MOST_TOKENS, player.most))
        sizes = player.model.vocab_sizes
        for token in tokens:
            ids = token if isinstance(token, list) else [token]
            if not all(0 <= id < size for id, size in zip(ids, sizes, strict=True)):
                raise HubError(f"tokens hold {token}; expected ids of the model's vocabulary, below {max(sizes):,}")
        return player, tokens


async def _tree(asked: Request) -> Any:
    try:
        tree = json.loads(await asked.body())
    except (ValueError, RecursionError) as error:
        raise HubError("the request's body is no JSON") from error
    level = [tree]
    for depth in range(DEEPEST):
        inside = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [one for some in inside for one in some]
        if depth and any(type(one) is float and not math.isfinite(one) for one in level):
            raise HubError("the request's body holds infinity or NaN, which are no numbers of JSON")
    if level:
        raise HubError(f"the request's body is nested too deeply; expected at most {DEEPEST} levels")
    return tree


def _told(handler: Handler) -> Handler:
    """The handler, whose errors that are meant for people are refusals."""

    async def answering(asked: Request) -> Response:
        try:
            return await handler(asked)
        except Full as error:
            raise Refused(503, str(error)) from error
        except Gone as error:
            raise Refused(410, str(error)) from error
        except ValueError as error:
            raise Refused(400, str(error)) from error
        except FileNotFoundError as error:
            raise Refused(410, "the model's folder changed in this moment; ask again") from error
        except OSError as error:
            raise Refused(
                409, f"the model's folder cannot be used: {error.strerror or type(error).__name__}"
            ) from error

    return answering


async def _refused(asked: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Response(*as_answer(error))


async def _failed(asked: Request, error: Exception) -> Response:
    return Response(*as_answer(Refused(500, f"the studio failed at this: {type(error).__name__}")))


async def _nothing(asked: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "there is nothing at this address", 405: "this address takes another method"}
    return Response(*as_answer(Refused(error.status_code, what.get(error.status_code, error.detail))))
