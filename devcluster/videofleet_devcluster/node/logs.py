"""The node's own HTTPS endpoint: container logs, by the path and the parameters of a kubelet.

It listens on loopback with a throw-away certificate. An option that it does not serve is 400, never ignored.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trustme
from aiohttp import web

_POLL_S: Final = 0.2
_CHUNK_BYTES: Final = 65536
_KNOWN: Final = {"tailLines", "follow", "previous", "limitBytes", "container"}

LogFile = Callable[[str, str, str, bool], Path | None]
"""(namespace, pod, container, previous) → its log file; None when it never ran."""
IsRunning = Callable[[str, str, str], bool]
"""(namespace, pod, container) → whether the log may still grow."""


class LogServer:
    """Serves logs on a free port of 127.0.0.1."""

    def __init__(self, log_file: LogFile, is_running: IsRunning) -> None:
        self._log_file, self._is_running = log_file, is_running
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/healthz", _healthy)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.port = 0

    async def start(self) -> None:
        """Listens; `port` is known afterwards."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1", "localhost").configure_cert(context)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stops listening and ends followed logs."""
        await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        unknown = sorted(set(request.query) - _KNOWN)
        if unknown:
            raise web.HTTPBadRequest(text=f"this node does not serve the log options {', '.join(unknown)}")
        where = (request.match_info["namespace"], request.match_info["pod"], request.match_info["container"])
        path = self._log_file(*where, request.query.get("previous") == "true")
        if path is None or not path.exists():
            pod, container = where[1:]
            raise web.HTTPBadRequest(text=f'container "{container}" in pod "{pod}" is waiting to start')
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        position = _start(path, request.query.get("tailLines"))
        end = position + int(request.query["limitBytes"]) if "limitBytes" in request.query else None
        follow = request.query.get("follow") == "true"
        while True:
            growing = follow and self._is_running(*where)
            position = await _copy(path, position, end, response)
            if not growing or position == end:
                return response
            await asyncio.sleep(_POLL_S)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def _start(path: Path, tail_lines: str | None) -> int:
    """Where the last `tail_lines` lines begin."""
    if tail_lines is None:
        return 0
    text, wanted = path.read_bytes(), int(tail_lines)
    if wanted == 0:
        return len(text)
    return len(text) - sum(map(len, text.splitlines(keepends=True)[-wanted:]))


async def _copy(path: Path, position: int, end: int | None, response: web.StreamResponse) -> int:
    with path.open("rb") as log:
        log.seek(position)
        while chunk := log.read(_CHUNK_BYTES if end is None else min(_CHUNK_BYTES, end - position)):
            await response.write(chunk)
            position += len(chunk)
    return position
