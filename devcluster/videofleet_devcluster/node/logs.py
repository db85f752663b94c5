"""Container logs: written line by line with the time in front, served over HTTPS by the path of a kubelet.

The server listens on loopback with a throw-away certificate. An option that it does not serve is 400, never ignored.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme
from aiohttp import web

from videofleet_devcluster.objects import micro_timestamp

_POLL_S: Final = 0.2
_CHUNK_BYTES: Final = 65536

LogFile = Callable[[str, str, str, bool], Path | None]
"""(namespace, pod, container, previous) → its log file; None when it never ran."""
IsRunning = Callable[[str, str, str], bool]
"""(namespace, pod, container) → whether the log may still grow."""


@contextlib.asynccontextmanager
async def _reading(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    try:
        yield reader
    finally:
        transport.close()


async def record(descriptor: int, path: Path) -> None:
    """Copies a pipe into the log file until its last writer is gone. Closes the descriptor."""
    rest = b""
    with path.open("ab", buffering=0) as log:
        async with _reading(descriptor) as reader:
            while chunk := await reader.read(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                log.write(_dated(lines))
        if rest:
            log.write(_dated([rest]))


def _dated(lines: list[bytes]) -> bytes:
    now = micro_timestamp().encode()
    return b"".join(now + b" " + line + b"\n" for line in lines)


def text_of(lines: Iterable[bytes]) -> bytes:
    """What the container wrote, without our times."""
    return b"".join(line.partition(b" ")[2] for line in lines)


@dataclass(frozen=True)
class LogOptions:
    """What `kubectl logs` asks for."""

    previous: bool
    follow: bool
    timestamps: bool
    since: str  # times compare as texts
    tail_lines: int | None
    limit_bytes: int | None

    @classmethod
    def read(cls, query: Mapping[str, str], now: datetime) -> "LogOptions":
        """Raises HTTPBadRequest for an option that is not served, or is no number."""

        def number(name: str) -> int | None:
            return int(left.pop(name)) if name in left else None

        left = dict(query)
        try:
            since = left.pop("sinceTime", "")
            age_s = left.pop("sinceSeconds", "")
            begins = datetime.fromisoformat(since) if since else now - timedelta(seconds=int(age_s or 10**9))
            options = cls(
                previous=left.pop("previous", "") == "true",
                follow=left.pop("follow", "") == "true",
                timestamps=left.pop("timestamps", "") == "true",
                since=begins.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
                tail_lines=number("tailLines"),
                limit_bytes=number("limitBytes"),
            )
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"a log option is no number or time: {error}") from error
        left.pop("container", None)
        if left:
            raise web.HTTPBadRequest(text=f"this node does not serve the log options {', '.join(sorted(left))}")
        return options

    def shown(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines as they are to be sent."""
        begins = self.since.encode()
        for line in lines:
            if line >= begins:
                yield line if self.timestamps else text_of([line])


class LogServer:
    """Serves logs on a free port of 127.0.0.1."""

    def __init__(self, log_file: LogFile, is_running: IsRunning) -> None:
        self._log_file, self._is_running = log_file, is_running
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
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
        await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        options = LogOptions.read(request.query, datetime.now(UTC))
        where = (request.match_info["namespace"], request.match_info["pod"], request.match_info["container"])
        path = self._log_file(*where, options.previous)
        if path is None or not path.exists():
            pod, container = where[1:]
            raise web.HTTPBadRequest(text=f'container "{container}" in pod "{pod}" is waiting to start')
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        await self._send(path, where, options, response)
        return response

    async def _send(
        self, path: Path, where: tuple[str, str, str], options: LogOptions, response: web.StreamResponse
    ) -> None:
        left, growing = options.limit_bytes, True
        with path.open("rb") as log:
            lines = log.readlines()
            if options.tail_lines is not None:
                lines = lines[max(0, len(lines) - options.tail_lines) :]
            while lines or growing:
                text = b"".join(options.shown(lines))[:left]
                await response.write(text)
                left = None if left is None else left - len(text)
                if left == 0 or not options.follow:
                    return
                if not lines:
                    await asyncio.sleep(_POLL_S)
                growing = self._is_running(*where)  # asked before the last read, so that nothing is missed
                lines = log.readlines()
