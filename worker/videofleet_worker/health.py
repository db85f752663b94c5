"""HTTP for the kubelet and Prometheus: GET of /healthz, /readyz and /metrics, one request a connection.

Healthy means that restarting the container would not help; ready means that every tier is warm. A busy worker is ready.
No HTTP library: aiohttp would be a third of the supervisor's start and a sixth of its memory, for three fixed answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from videofleet_worker.metrics import Metrics
from videofleet_worker.status import Status

TEXT: Final = "text/plain; charset=utf-8"
PATIENCE_S: Final = 10.0  # with one client, from its first byte to our last
LONGEST_HEAD: Final = 16 << 10  # bytes

Answer = tuple[HTTPStatus, str, bytes]  # with the type of its content


@asynccontextmanager
async def serving(
    status: Status, metrics: Metrics, is_stuck: Callable[[], bool], *, address: str, port: int
) -> AsyncIterator[int]:
    """Serves while inside; yields the port, which matters when 0 was asked for."""

    def answer(method: str, path: str) -> Answer:
        match path:
            case "/healthz" | "/readyz" | "/metrics" if method != "GET":
                return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET\n"
            case "/healthz" if is_stuck():
                return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, b"compute hangs and could not be killed\n"
            case "/healthz":
                return HTTPStatus.OK, TEXT, b"ok\n"
            case "/readyz":
                code = HTTPStatus.OK if status.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
                return code, TEXT, f"{status.state}: {status.detail}\n".encode()
            case "/metrics":
                metrics.set_state(status.state)
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)
        return HTTPStatus.NOT_FOUND, TEXT, b"/healthz, /readyz or /metrics\n"

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever is too slow, says too much or goes away gets no answer.
        with contextlib.suppress(OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
                writer.write(_spelled(answer(method, target.partition("?")[0])))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, address, port, limit=LONGEST_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _spelled(answer: Answer) -> bytes:
    code, content_type, body = answer
    head = f"HTTP/1.1 {code.value} {code.phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
