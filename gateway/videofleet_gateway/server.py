"""aiohttp's server, less patient: who sends headers too slowly or too many of them is sent away.

aiohttp itself waits for headers as long as a connection may be idle, and answers 400 to what is 431. It has no seam for
either, so this reaches into its connection class; tests/gateway/test_slow_clients.py watches what it relies on.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

HEADERS_S: Final = 10.0  # from the first byte of a request to the end of its headers


class _Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_headers_timer",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
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
        super().connection_lost(exc)

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
