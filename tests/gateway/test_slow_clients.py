"""Clients that are slow or send too much are sent away, and cost nobody else anything. Raw sockets, a real gateway."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from videofleet_gateway import server
from videofleet_gateway.server import Runner


async def exchange(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Sends the parts with pauses; returns what came back until the connection closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reply = asyncio.create_task(reader.read())
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            if pause_s:
                await asyncio.wait([reply], timeout=pause_s)
    except ConnectionError:
        pass  # it was closed on us, which is what the test is about
    try:
        return await asyncio.wait_for(reply, 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


Held = Callable[[], int]


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """Our server over a trivial application."""
    app = web.Application()

    async def slow_or_not(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("s", "0")))
        return web.Response(text="done")

    async def streamed(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(64 if request.query["chunk"] == "large" else 1 << 30):
                await response.write(LARGE if request.query["chunk"] == "large" else b"data: {}\n\n" * 50)
                await asyncio.sleep(0)
            await response.write_eof()
        return response

    async def at_once(request: web.Request) -> web.Response:
        return web.Response(body=LARGE * 32)

    app.router.add_get("/", slow_or_not)
    app.router.add_get("/streamed", streamed)
    app.router.add_get("/at-once", at_once)
    runner = Runner(app, shutdown_timeout=STOPPING_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner
    await runner.cleanup()


@pytest.fixture
def impatient(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> int:
    """Its port, with short limits for headers and for reading."""
    monkeypatch.setattr(server, "HEADERS_S", 0.5)
    monkeypatch.setattr(server, "READING_S", 0.5)
    return int(runner.addresses[0][1])


@pytest.fixture
def held(runner: Runner) -> Held:
    """How many connections it holds."""
    return lambda: len(runner.server.connections) if runner.server else 0


LARGE = bytes(1 << 20)
STOPPING_S = 3.0
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def test_headers_that_trickle_end_the_connection(impatient: int) -> None:
    began = time.monotonic()
    assert await exchange(impatient, HEAD, *[b"X-A: b\r\n"] * 200, pause_s=0.1) == b""
    assert time.monotonic() - began < 15, "not after the 20 s that sending all of it takes"


async def test_who_says_nothing_is_sent_away(impatient: int) -> None:
    assert await exchange(impatient) == b""


async def test_a_kept_connection_is_watched_too(impatient: int) -> None:
    reply = await exchange(impatient, HEAD + b"\r\n", HEAD, *[b"X-A: b\r\n"] * 100, pause_s=0.2)
    assert reply.count(b"HTTP/1.1 200 OK") == 1


async def test_a_request_may_take_longer_than_its_headers(impatient: int) -> None:
    reply = await exchange(impatient, b"GET /?s=1.5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.endswith(b"done")


def asking(port: int, path: str) -> socket.socket:
    """A connection that has asked and not yet read."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("path", ["/streamed?chunk=large", "/streamed?chunk=small", "/at-once"])
async def test_who_reads_a_byte_now_and_then_is_sent_away(impatient: int, path: str, held: Held) -> None:
    with asking(impatient, path) as client:
        async with asyncio.timeout(60):
            while not held():  # noqa: ASYNC110 - in a socket
                await asyncio.sleep(0.01)
            while held():
                assert await asyncio.to_thread(client.recv, 1)
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["/streamed?chunk=large", "/at-once"])
async def test_who_reads_slowly_gets_everything(
    impatient: int, path: str, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READING_BYTES", 1)
    monkeypatch.setattr(server, "READING_S", 5.0)
    total, longest = 0, 0.0
    with asking(impatient, path) as client:
        while part := await asyncio.to_thread(client.recv, 256 << 10):
            total += len(part)
            longest = max(longest, total * held())
            await asyncio.sleep(0.005)
    assert total > 32 * len(LARGE)
    assert longest > 8 * len(LARGE), "the kernel took all of it at once: this shows nothing"


async def test_who_does_not_read_holds_up_no_restart(runner: Runner, held: Held) -> None:
    with asking(runner.addresses[0][1], "/streamed?chunk=large"):
        async with asyncio.timeout(60):
            while not held():  # noqa: ASYNC110 - in a socket
                await asyncio.sleep(0.01)
        began = time.monotonic()
        await runner.cleanup()
        assert time.monotonic() - began < 2 * STOPPING_S - 0.5, "it was waited for twice"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /healthz?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", 400),
    ],
)
async def test_too_much_before_the_body_is_431(gateway: Any, head: bytes, status: int) -> None:
    reply = await exchange(gateway.port, head)
    assert reply.split(b" ")[1] == str(status).encode()


async def test_a_body_that_says_it_is_too_long_is_413(gateway: Any, http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/videos", json={"prompt": "x" * (300 << 10)}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (413, "request_entity_too_large")
