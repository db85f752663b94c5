"""Whoever runs a Redis that answers before it writes is told, with the remedy."""

import asyncio
import logging
import re
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from specimens import policy

from videofleet.queue import JobQueue, QueueUnavailable
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.redis_watch import RedisWatch


class SlowDisk:
    """Between the gateway and a real Redis: INFO tells of so many late fsyncs, everything else passes as it is."""

    def __init__(self, url: str) -> None:
        host, port = re.findall(r"@([^:]+):(\d+)", url)[0]
        self._to = host, int(port)
        self._url = url
        self.late = 0

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return re.sub(r"@[^/]+", f"@127.0.0.1:{port}", self._url)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection(*self._to)
        await asyncio.gather(self._pass(reader, to_redis), self._pass(from_redis, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            writer.write(data.replace(b"aof_delayed_fsync:0", b"aof_delayed_fsync:%d" % self.late))
            await writer.drain()
        writer.close()


@pytest.fixture
async def slow_disk(redis_url: str) -> AsyncIterator[Any]:
    disk = SlowDisk(redis_url)
    disk.url = await disk.open()
    yield disk
    disk._server.close()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "videofleet_gateway.redis_watch"]


async def test_a_slow_disk_is_told_once_counted_and_told_to_be_over(
    slow_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    metrics = Metrics()
    async with JobQueue.connect(slow_disk.url, "watched") as queue:
        watch = RedisWatch(queue, metrics)
        await watch.look()
        assert told(caplog) == []
        for slow_disk.late in (3, 5):
            await watch.look()
        (warning,) = told(caplog)
        assert "appendfsync always" in warning
        assert "faster disk" in warning
        assert metrics.registry.get_sample_value("videofleet_gateway_redis_late_fsyncs_total") == 5
        await watch.look()
        assert told(caplog)[1:] == ["Redis keeps up with its disk again"]


async def test_who_starts_beside_a_redis_that_was_late_hears_of_it(
    slow_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    slow_disk.late = 7
    async with JobQueue.connect(slow_disk.url, "watched") as queue:
        await RedisWatch(queue, metrics).look()
    assert len(told(caplog)) == 1
    assert metrics.registry.get_sample_value("videofleet_gateway_redis_late_fsyncs_total") == 0, "not in our time"


@pytest.mark.parametrize("redis_server", ["everysec"], indirect=True)  # with `always` it exits, which is an outage
async def test_a_disk_that_is_full_is_told_and_its_end_too(redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics = Metrics()

    def is_failing() -> bool:
        return bool(metrics.registry.get_sample_value("videofleet_gateway_redis_write_failing"))

    async with JobQueue.connect(redis_server.url, "watched") as queue, asyncio.timeout(60):
        watch = RedisWatch(queue, metrics)
        await queue.publish_policy(policy())
        await watch.look()
        process = psutil.Process(redis_server.process.pid)
        process.rlimit(psutil.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        while not is_failing():
            with suppress(QueueUnavailable):
                await queue.publish_policy(policy())
            await watch.look()
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        while is_failing():
            await watch.look()
    assert [message.split(":")[0] for message in told(caplog)] == [
        "Redis cannot write its append-only file and refuses jobs",
        "Redis writes its append-only file again",
    ]
