"""Connections of the studio: nothing that stands still is held for ever, and what is no HTTP hears so in JSON."""

import asyncio
import math
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from supervisors.studio.door import App, Refused, as_answer

MOST = 512  # connections, of which the door lets fewer in at once
LOOK = 5.0  # seconds between two looks at a connection
UNSENT = 30.0  # seconds in which the head of a request has to be sent
UNREAD = 120.0  # seconds after which an answer that nobody reads is dropped


class Wire(H11Protocol):
    """One connection. It is cut when half a request stays half, or when its reader has stopped to read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._seen: tuple[Any, ...] = ()
        self._since = 0.0
        self._timer = self.loop.call_soon(self._look)
        if len(self.connections) > MOST:
            self._refuse(Refused(503, f"{MOST} connections are open, which is all there is room for; come again"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone, or was cut."""
        self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(Refused(400, "this is no request of HTTP/1.1"))

    def _refuse(self, refused: Refused) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # behind half an answer there can be no other
            content, status, headers = as_answer(refused)
            headers |= {"content-length": str(len(content)), "connection": "close"}
            told = [(key.encode(), value.encode()) for key, value in headers.items()]
            for event in (h11.Response(status_code=status, headers=told), h11.Data(content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look(self) -> None:
        """Whether anything has moved for as long as one may wait for it."""
        busy = self.cycle is not None and not self.cycle.response_complete
        unread = self.transport.get_write_buffer_size()
        seen = (busy, unread, self.cycle)
        if seen != self._seen:
            self._seen, self._since = seen, self.loop.time()
        patience = UNREAD if unread else math.inf if busy else UNSENT
        if self.loop.time() - self._since > patience:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(LOOK, self._look)  # type: ignore[assignment]


def server(app: App) -> uvicorn.Server:
    """What serves the application on a socket."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http=Wire,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
