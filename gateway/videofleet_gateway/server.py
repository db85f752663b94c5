"""aiohttp's server, less patient: who sends headers too slowly or too many of them, or reads too slowly, is sent away.

aiohttp itself waits for headers as long as a connection may be idle, for a reader for ever, and answers 400 to what is
431. It has no seam for these, so this reaches into its connection class; tests/gateway/test_slow_clients.py watches
what it relies on. What waits for one reader is bounded: by a chunk of a file, or by one reply.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

HEADERS_S: Final = 10.0  # from the first byte of a request to the end of its headers
READING_S: Final = 30.0  # while a reply waits for its reader, he must take this many bytes in so many seconds
READING_BYTES: Final = 32 << 10


class _Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_headers_timer", "_reader_timer", "_sending")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._headers_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sending = cast(asyncio.Transport, transport)  # aiohttp forgets its own when it closes
        self._sending.set_write_buffer_limits(high=0)  # whatever the kernel does not take pauses writing
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._forget_timer()
        elif self._headers_timer is None and self._waiter is not None:  # the next request of a kept connection began
            self._await_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_timer()
        self._forget_reader()
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - as aiohttp declares it
        """aiohttp waits the time twice where a handler waits for its reader; after the first nobody gets more."""
        if timeout is not None:
            asyncio.get_running_loop().call_later(timeout, self._sending.abort)
        await super().shutdown(timeout)

    def pause_writing(self) -> None:
        """Something waits for the reader, perhaps the rest of a closed connection: from now on his speed counts."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """He has taken all of it."""
        self._forget_reader()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        too_large = isinstance(exc, LineTooLong) or (isinstance(exc, BadHttpMessage) and "Too many" in exc.message)
        if not too_large:
            return super().handle_error(request, status, exc, message)
        response = web.Response(
            status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text="a header is too long, or there are too many\n"
        )
        response.force_close()
        return response

    def _await_headers(self) -> None:
        self._headers_timer = asyncio.get_running_loop().call_later(HEADERS_S, self._too_slow)

    def _too_slow(self) -> None:
        self._headers_timer = None
        self.force_close()

    def _await_reader(self) -> None:
        unread_bytes = self._sending.get_write_buffer_size()
        self._reader_timer = asyncio.get_running_loop().call_later(READING_S, self._look_at_reader, unread_bytes)

    def _look_at_reader(self, unread_bytes: int) -> None:
        """While writing is paused nothing is added, so what has left is what he took."""
        self._reader_timer = None
        if unread_bytes - self._sending.get_write_buffer_size() >= READING_BYTES:
            self._await_reader()
        else:
            self._sending.abort()  # closing would wait for him to take the rest

    def _forget_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _forget_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class _Server(web.Server):
    """Makes our connections."""

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are ours."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
