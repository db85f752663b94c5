"""What the kubelet and Prometheus ask of a worker over HTTP, and what others may try."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from videofleet.beacons import WorkerState
from videofleet_worker import health
from videofleet_worker.metrics import Metrics
from videofleet_worker.status import Status


@pytest.fixture
def status() -> Status:
    return Status("worker-0", "rev-1")


@pytest.fixture
async def port(status: Status) -> AsyncIterator[int]:
    stuck = lambda: status.detail == "stuck"  # noqa: E731 - one line
    async with health.serving(status, Metrics(), stuck, address="127.0.0.1", port=0) as port:
        yield port


async def answer(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, f"http://127.0.0.1:{port}{path}") as reply:
        return reply.status, await reply.text()


async def said(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    if words:
        writer.write_eof()
    heard = await reader.read()
    writer.close()
    return heard


async def test_each_path_says_what_it_is_for(port: int, status: Status) -> None:
    assert await answer(port, "/healthz") == (200, "ok\n")
    assert await answer(port, "/readyz") == (503, "loading: starting\n")
    status.enter(WorkerState.READY, "1 tiers warm")
    assert await answer(port, "/readyz?verbose=1") == (200, "ready: 1 tiers warm\n")
    code, text = await answer(port, "/metrics")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert (code, "videofleet_worker_state" in names) == (200, True)
    status.enter(WorkerState.READY, "stuck")
    assert (await answer(port, "/healthz"))[0] == 503


async def test_nothing_else_is_there(port: int) -> None:
    assert (await answer(port, "/"))[0] == 404
    assert (await answer(port, "/healthz", "POST"))[0] == 405


@pytest.mark.parametrize("words", [b"GET", b"\xff\xfe /healthz HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"G" * 100_000])
async def test_nonsense_gets_no_answer_and_does_no_harm(port: int, words: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # closed with some of it unread
        assert await said(port, words) == b""
    assert (await answer(port, "/healthz"))[0] == 200


async def test_a_silent_client_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.05)
    assert await said(port, b"") == b""
