"""The door: who has no token, asks too much at once or sends too much does not come in; every refusal is JSON.

A page of another site that is open in the same browser can reach this machine's ports. It knows no token, and where it
hides behind a name of its own for this machine, the host of its requests betrays it.
"""

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.log import logger

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost")
AT_ONCE = 128  # requests, streams among them
BODY_SECONDS = 30.0  # in which a request has to be sent
HELD = 8  # times the largest body, that all requests together may hold
REST = 2.0  # seconds that what is too large is still read, and dropped, so that its sender hears why
LINE = 500  # characters of a refusal, which may quote what was asked
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Refused(Exception):
    """A request that does not come in, or cannot be served."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Door:
    """ASGI around an application."""

    def __init__(self, app: App, token: str, most_bytes: int) -> None:
        """`most_bytes` of a request's body are read."""
        self.app, self.token, self.most_bytes, self.inside, self.held = app, token, most_bytes, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request in, or answers it."""
        if scope["type"] != "http":
            return
        begun, parts = False, list[bytes]()

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        self.inside += 1
        try:
            if self.inside > AT_ONCE:
                raise Refused(503, f"{AT_ONCE} requests are being answered, which is all there is room for; come again")
            self._admit(scope)
            await self._read(scope, receive, parts)
            await self.app(scope, _replayed(b"".join(parts), receive), sending)
        except Refused as refused:
            if not begun:
                await _answer(sending, refused)
        except asyncio.CancelledError:
            raise
        except OSError:  # whoever asked has gone
            pass
        except Exception as error:
            logger.error("a request to the studio failed", exc_info=error)
            if not begun:
                await _answer(sending, Refused(500, f"the studio failed at this: {type(error).__name__}"))
        finally:
            self.inside -= 1
            self.held -= sum(map(len, parts))

    def _admit(self, scope: Scope) -> None:
        headers = {key.lower(): value for key, value in scope["headers"]}
        host, _, port = headers.get(b"host", b"").decode("latin-1").partition(":")
        if host not in HOSTS or (port and not (port.isascii() and port.isdigit())):
            raise Refused(403, "this studio answers to 127.0.0.1 and localhost alone")
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not given and scope["path"] == "/":  # the page itself, opened by its address
            pairs = (pair.partition(b"=") for pair in scope["query_string"].split(b"&"))
            given = next((value for key, _, value in pairs if key == b"token"), b"")
        if not hmac.compare_digest(given, self.token.encode()):
            raise Refused(401, "the token is missing or wrong; open the address that `studio` printed")

    async def _read(self, scope: Scope, receive: Receive, parts: list[bytes]) -> None:
        """The whole body into `parts`, bounded in size, in time, and in what all requests hold together."""
        too_much = Refused(413, f"the request is too large; expected at most {self.most_bytes:,} bytes")
        size, more = 0, True
        length = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if length.isdigit() and int(length[:20]) > self.most_bytes:
                raise too_much
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    part, more = await _part(receive)
                    size += len(part)
                    if size > self.most_bytes:
                        raise too_much
                    if self.held + len(part) > HELD * self.most_bytes:
                        raise Refused(503, "much is being sent at once; come again in a moment")
                    self.held += len(part)
                    parts.append(part)
        except TimeoutError as error:
            raise Refused(408, f"the request did not come within {BODY_SECONDS:.0f} seconds") from error
        except Refused:
            self.held -= sum(map(len, parts))
            parts.clear()  # room for the others
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REST):
                    while more:
                        _, more = await _part(receive)
            raise


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """The next part of a body, and whether more follows; ConnectionError when whoever asked has gone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ConnectionError
    return message.get("body", b""), message.get("more_body", False)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once, then what else comes."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def as_answer(refused: Refused) -> tuple[bytes, int, dict[str, str]]:
    """Content {"error": one line}, status and headers."""
    headers = {"content-type": "application/json"} | ({"retry-after": "1"} if refused.status == 503 else {})
    line = " ".join(str(refused).split())
    return json.dumps({"error": line[:LINE]}).encode(), refused.status, headers


async def _answer(send: Send, refused: Refused) -> None:
    content, status, headers = as_answer(refused)
    headers["content-length"] = str(len(content))
    told = [(key.encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": content})
