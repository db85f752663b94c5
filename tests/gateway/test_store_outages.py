"""The object store dies, turns silent or refuses: who asks hears it in time, nothing is lost, it heals by itself.

A real S3 server behind a proxy that misbehaves on demand.
"""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis
from yarl import URL

from videofleet.policy import CacheScope
from videofleet.queue import JobQueue, Owed
from videofleet.store import ObjectStore
from videofleet_gateway.app import build_app
from videofleet_gateway.auth import Keyring
from videofleet_gateway.breaker import THRESHOLD
from videofleet_gateway.directory import FleetDirectory
from videofleet_gateway.files import Files
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.routes import content
from videofleet_gateway.server import Runner
from videofleet_gateway.services import Services

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
PROMPT = {"prompt": "a fox runs", "model": "studio/tiny", "seed": 7}
TOLD_S = 2.0
SLACK_S = 3.0  # of a busy machine
IMPATIENT_S = 2.0
MIDDLE = re.compile(rb"(?i)\r\nrange: bytes=[1-9]")


class Mood(StrEnum):
    """What the proxy does with a connection."""

    FORWARDS = "forwards"
    RESETS = "resets"
    SILENT = "silent"
    STALLS = "stalls"  # begins its answer, and that was all
    REFUSES = "refuses"  # 503 to everything


class Proxy:
    """Between the gateway and the store."""

    def __init__(self, store: URL) -> None:
        self.mood = Mood.FORWARDS
        self.begins_well = False  # the mood is only for the parts of a file that come after its first
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def conversations(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    async def start(self) -> str:
        """Returns: its own address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Ends every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await self._converse(reader, writer)
        writer.transport.abort()
        self._tasks.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection, so that each feels the mood of its moment."""
        asked = await reader.read(1 << 16)
        mood = Mood.FORWARDS if self.begins_well and not MIDDLE.search(asked) else self.mood
        if mood is Mood.RESETS or not asked:
            return
        if mood is Mood.SILENT:
            await reader.read()  # until the other side has had enough
        if mood is Mood.REFUSES:
            writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        away, there = await asyncio.open_connection(self._store.host, self._store.port)
        there.write(asked)
        pushing = asyncio.create_task(_pipe(reader, there))
        try:
            if mood is Mood.STALLS:
                writer.write(await away.read(1 << 16))
                await pushing
            await _pipe(away, writer)
        finally:
            pushing.cancel()
            there.transport.abort()
            with suppress(ConnectionError):
                await there.wait_closed()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@pytest.fixture
async def proxied(own_gateway: Any, s3_secret: Path, tmp_path: Path) -> AsyncIterator[tuple[Any, Proxy]]:
    """A gateway whose store is behind the proxy, started."""
    proxy = Proxy(URL((s3_secret / "aws_endpoint").read_text()))
    secret = tmp_path / "secret"
    shutil.copytree(s3_secret, secret)
    (secret / "aws_endpoint").write_text(await proxy.start())
    own_gateway.store_argument = f"--store-folder=videos={secret}"
    own_gateway.store = ObjectStore.from_folder("videos", s3_secret)
    own_gateway.start()
    yield own_gateway, proxy
    await proxy.stop()


async def made(gateway: Any, http: aiohttp.ClientSession, work: Any) -> str:
    """A finished video."""
    async with http.post("/v1/videos", json=PROMPT) as response:
        job = (await response.json())["id"]
    await work(gateway, job)
    return str(job)


async def refused(http: aiohttp.ClientSession, job: str) -> float:
    """Asks for the file and is told that the store is away; gives the seconds that took."""
    began = time.monotonic()
    async with http.get(f"/v1/videos/{job}/content") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "store_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
    return time.monotonic() - began


async def whole(http: aiohttp.ClientSession, job: str) -> bool:
    async with http.get(f"/v1/videos/{job}/content") as response:
        return response.status == 200 and len(await response.read()) == int(response.headers["Content-Length"])


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("mood", [Mood.RESETS, Mood.SILENT, Mood.REFUSES])
async def test_a_dead_store_is_told_in_time_costs_nothing_else_and_heals(
    proxied: tuple[Any, Proxy], work: Any, mood: Mood
) -> None:
    gateway, proxy = proxied
    async with gateway.session("rich") as http:
        job = await made(gateway, http, work)
        assert await whole(http, job)
        proxy.mood = mood
        for _ in range(THRESHOLD):
            assert await refused(http, job) < TOLD_S + SLACK_S
        at_once = sorted([await refused(http, job) for _ in range(10)])
        assert at_once[5] < 0.5, "the circuit is open: nobody waits for the store"
        async with http.get("/metrics") as response:
            assert 'breaker_open{dependency="store"} 1.0' in await response.text()
        for method, path, expected in (("POST", "/v1/videos", 202), ("GET", f"/v1/videos/{job}", 200)):
            body = {"json": PROMPT | {"seed": 8}} if method == "POST" else {}
            async with http.request(method, path, **body) as response:
                assert response.status == expected, "what needs no store goes on"
        proxy.mood = Mood.FORWARDS
        await eventually(lambda: whole(http, job))
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize("mood", [Mood.RESETS, Mood.SILENT])
async def test_deleting_from_a_dead_store_is_told_in_time_and_done_later(
    proxied: tuple[Any, Proxy], work: Any, mood: Mood
) -> None:
    gateway, proxy = proxied
    async with gateway.session("rich") as http:
        job = await made(gateway, http, work)
        proxy.mood = mood
        began = time.monotonic()
        async with http.delete(f"/v1/videos/{job}") as response:
            assert (await response.json())["deleted"] is True
        assert time.monotonic() - began < TOLD_S + SLACK_S
        assert [key async for page in gateway.store.pages(f"out/{job}") for key, _ in page]
        proxy.mood = Mood.FORWARDS

        async with (
            JobQueue.connect(gateway.redis_url, gateway.installation) as queue,
            Redis.from_url(gateway.redis_url, decode_responses=True) as redis,
        ):
            (debt,) = await redis.zrange(f"vf:{{{gateway.installation}/{FLEET}}}:leaving", 0, -1)
            await Files(queue, {"videos": gateway.store}, Metrics()).delete(Owed.parse(FLEET, debt))
        assert not [key async for page in gateway.store.pages(f"out/{job}") for key, _ in page]


async def test_an_equal_request_is_made_anew_where_the_copy_cannot_be_had(
    proxied: tuple[Any, Proxy], work: Any
) -> None:
    gateway, proxy = proxied
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        policy = await queue.policy(FLEET)
        assert policy is not None
        await queue.publish_policy(policy.model_copy(update={"cache": CacheScope.TENANT}))
    async with gateway.session("rich") as http:
        await made(gateway, http, work)
        proxy.mood = Mood.SILENT
        for _ in range(2):
            began = time.monotonic()
            async with http.post("/v1/videos", json=PROMPT) as response:
                assert (response.status, (await response.json())["cached"]) == (202, False)
            assert time.monotonic() - began < TOLD_S + SLACK_S


async def test_a_download_that_breaks_off_is_seen_and_goes_on_by_range(proxied: tuple[Any, Proxy], work: Any) -> None:
    gateway, proxy = proxied
    async with gateway.session("rich") as http:
        job = await made(gateway, http, work)
        async with http.get(f"/v1/videos/{job}/content") as response:
            etag = response.headers["ETag"]
            expected = await response.read()
        begun = bytearray()

        async def begin() -> None:
            async with http.get(f"/v1/videos/{job}/content") as response:
                begun.extend(await response.content.readexactly(1000))
                proxy.mood = Mood.RESETS
                while part := await response.content.read(1 << 16):
                    begun.extend(part)

        with pytest.raises(aiohttp.ClientError):
            await begin()
        proxy.mood = Mood.FORWARDS
        rest = {"Range": f"bytes={len(begun)}-", "If-Range": etag}

        async def goes_on() -> bool:
            async with http.get(f"/v1/videos/{job}/content", headers=rest) as response:
                return response.status == 206 and begun + await response.read() == expected

        await eventually(goes_on)


@pytest.fixture
async def impatient(proxied: tuple[Any, Proxy], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[URL]:
    """The same gateway in this process, with less patience; its address."""
    monkeypatch.setattr(content, "_CHUNK_S", IMPATIENT_S)
    gateway, _ = proxied
    queue = JobQueue.connect(gateway.redis_url, gateway.installation)
    store = ObjectStore.from_folder("videos", Path(gateway.store_argument.partition("videos=")[2]))
    keys = Keyring(gateway.keys_file)
    services = Services(queue=queue, fleets=FleetDirectory(queue), keys=keys, stores={"videos": store})
    runner = Runner(build_app(services), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.mark.parametrize("mood", [Mood.STALLS, Mood.SILENT])
async def test_a_store_that_stops_in_the_middle_of_a_download_is_cut_and_holds_nobody(
    proxied: tuple[Any, Proxy], impatient: URL, work: Any, mood: Mood
) -> None:
    gateway, proxy = proxied
    async with gateway.session("rich") as http:
        job = await made(gateway, http, work)
    headers = {"Authorization": f"Bearer {gateway.keys['rich']}"}
    async with aiohttp.ClientSession(impatient, headers=headers) as http:
        assert await whole(http, job)
        await eventually(lambda: answered(proxy.conversations == 0))
        tasks = len(asyncio.all_tasks())

        async def download() -> float:
            """Gives the seconds from the reply's beginning to the client's knowing."""
            async with http.get(f"/v1/videos/{job}/content") as response:
                assert response.status == 200
                began = time.monotonic()
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
            return time.monotonic() - began

        proxy.mood, proxy.begins_well = mood, True

        cut = [asyncio.create_task(download()) for _ in range(3)]
        while not all(task.done() for task in cut):
            async with http.get("/v1/models") as response:
                assert response.status == 200, "what needs no store goes on"
        for took_s in await asyncio.gather(*cut):
            assert took_s < IMPATIENT_S + SLACK_S
        await eventually(lambda: answered(proxy.conversations == 0 and len(asyncio.all_tasks()) <= tasks))
        proxy.mood = Mood.FORWARDS
        assert await whole(http, job), "and so does the store, once it is back"


async def answered(holds: bool) -> bool:
    return holds
