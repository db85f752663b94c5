"""The queue while Redis dies, fails over and fills up, and while workers and clocks stand still. Real processes.

Promise: every accepted job succeeds once, and nothing that was acknowledged is lost.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import specimens
from redis import Redis
from specimens import FLEET, new_job, policy, result

from videofleet.jobs import JobState, Progress
from videofleet.queue import Durability, JobQueue, LeaseLost, QueueUnavailable, connection

T = TypeVar("T")

KILLS, KILL_EVERY_S = 15, 2.0
FAILOVERS = 4
ZOMBIE = """
import asyncio, sys
sys.path[:0] = {folders!r}
from test_queue_faults import *
async def main():
    async with JobQueue.connect({url!r}, {installation!r}) as queue:
        claim, = (await queue.claim(FLEET, worker="zombie", revision="r1")).claims
        print("claimed", flush=True)
        sys.stdin.readline()
        try:
            print(await queue.succeed(claim, result(claim.attempt)), flush=True)
        except LeaseLost:
            print("lost", flush=True)
asyncio.run(main())
"""


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """As gateways' clients and workers do: again until Redis answers."""
    while True:
        try:
            return await call()
        except QueueUnavailable:
            await asyncio.sleep(0.02)


class Load:
    """Clients that submit and workers that work, over one queue, whatever becomes of Redis."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.accepted: list[str] = []
        self.is_over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load inside; on leaving, no new jobs, and every accepted one is worked off."""
        clients = [asyncio.create_task(self._submit()) for _ in range(3)]
        workers = [asyncio.create_task(self._work(f"w{n}")) for n in range(3)]
        yield
        self.is_over = True
        await asyncio.gather(*clients)
        async with asyncio.timeout(120):  # where the disk is slow, clients are faster than workers
            while await self._unfinished():  # noqa: ASYNC110 - Redis sends no event
                await asyncio.sleep(0.05)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _unfinished(self) -> int:
        stats = await insist(lambda: self.queue.stats(FLEET))
        return stats.waiting + stats.running

    async def _submit(self) -> None:
        while not self.is_over:
            job = new_job()
            submitted = await insist(lambda job=job: self.queue.submit(job))  # type: ignore[misc]  # bound at once
            self.accepted.append(submitted.job.id)
            await asyncio.sleep(0.005)

    async def _work(self, name: str) -> None:
        while True:
            claimed = await insist(lambda: self.queue.claim(FLEET, worker=name, revision="r1"))
            for claim in claimed.claims:
                with suppress(LeaseLost):
                    await insist(lambda c=claim: self.queue.beat(c, Progress(stage="denoising")))  # type: ignore[misc]  # bound at once
                    await insist(lambda c=claim: self.queue.succeed(c, result(c.attempt)))  # type: ignore[misc]  # bound at once
            await asyncio.sleep(0 if claimed.claims else 0.02)

    async def expect_all(self, at_least: int) -> None:
        """Every accepted job has succeeded, once."""
        assert len(self.accepted) == len(set(self.accepted)) >= at_least
        states = [(await self.queue.get(job_id)).state for job_id in self.accepted]
        assert set(states) == {JobState.SUCCEEDED}
        (row,) = await self.queue.outcomes(FLEET)
        assert (row.succeeded, row.failed, row.dead) == (len(self.accepted), 0, 0)


async def test_redis_killed_every_two_seconds_under_load(
    redis_server: Any, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videofleet.queue.client.LEASE_MS", 3000)
    async with JobQueue.connect(redis_server.url, installation) as queue:
        await queue.publish_policy(policy(max_depth=1_000_000))
        load = Load(queue)
        async with load.running():
            for _ in range(KILLS):
                await asyncio.sleep(KILL_EVERY_S)
                await asyncio.to_thread(redis_server.kill)
                await asyncio.to_thread(redis_server.start)
        await load.expect_all(at_least=500)


class Address:
    """One address for whichever Redis is the primary now, as a Service is."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Forwards inside."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        self.drop()

    def drop(self) -> None:
        """Cuts every connection."""
        for writer in self._open:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._open |= {writer, far_writer}
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        writer.close()
        self._open.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def in_step(replica: Any) -> None:
    """Waits until a replica has all that its primary has."""
    async with asyncio.timeout(30):
        with Redis.from_url(replica.url, decode_responses=True) as redis:
            while redis.info("replication")["master_link_status"] != "up":  # noqa: ASYNC110 - Redis sends no event
                await asyncio.sleep(0.05)


async def test_failovers_in_wait_mode(
    redis_server: Any, installation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica stands still when the primary dies: what it had not confirmed was never acknowledged."""
    monkeypatch.setattr("videofleet.queue.client.LEASE_MS", 3000)
    kind, password, started = type(redis_server), redis_server.password, []

    def replica_of(primary: Any) -> Any:
        folder = tmp_path / f"replica-{len(started)}"
        folder.mkdir()
        server = kind(folder, "--replicaof", "127.0.0.1", str(primary.port), "--masterauth", password)
        server.password = password
        server.start()
        started.append(server)
        return server

    address = Address()
    try:
        async with address.serving():
            primary, replica = redis_server, replica_of(redis_server)
            await in_step(replica)
            address.target = primary.port
            url = f"redis://:{password}@127.0.0.1:{address.port}/0"
            async with JobQueue.connect(url, installation, Durability.WAIT) as queue:
                await insist(lambda: queue.publish_policy(policy(max_depth=1_000_000)))
                load = Load(queue)
                async with load.running():
                    for _ in range(FAILOVERS):
                        await asyncio.sleep(0.7)
                        replica.process.send_signal(signal.SIGSTOP)
                        await asyncio.sleep(0.3)
                        await asyncio.to_thread(primary.kill)
                        replica.process.send_signal(signal.SIGCONT)
                        with Redis.from_url(replica.url) as redis:
                            redis.replicaof("NO", "ONE")
                        primary, replica = replica, await asyncio.to_thread(replica_of, replica)
                        await in_step(replica)
                        address.target = primary.port
                        address.drop()
                await load.expect_all(at_least=20)
    finally:
        for server in started:
            server.kill()


async def test_a_worker_that_stood_still_changes_nothing(
    redis_server: Any, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with JobQueue.connect(redis_server.url, installation) as queue:
        await queue.publish_policy(policy(max_depth=1_000_000))
        job_id = (await queue.submit(new_job())).job.id
        folders = [str(Path(__file__).parent), str(Path(specimens.__file__).parent)]
        script = ZOMBIE.format(folders=folders, url=redis_server.url, installation=installation)
        zombie = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert zombie.stdout is not None
        assert zombie.stdin is not None
        async with asyncio.timeout(60):
            assert await zombie.stdout.readline() == b"claimed\n"
            zombie.send_signal(signal.SIGSTOP)
            zombie.stdin.write(b"go\n")
            with Redis.from_url(redis_server.url) as redis:  # its lease ends
                redis.zadd(f"vf:{{{installation}/{FLEET}}}:running", {job_id: 1})
            (heir,) = (await queue.claim(FLEET, worker="heir", revision="r1")).claims
            assert await queue.succeed(heir, result(heir.attempt)) is JobState.SUCCEEDED
            zombie.send_signal(signal.SIGCONT)
            assert await zombie.stdout.readline() == b"lost\n"
            assert await zombie.wait() == 0
        job = await queue.get(job_id)
        assert job.result is not None
        assert (job.result.attempt, job.worker) == (2, "heir")


async def test_a_full_redis_refuses_new_jobs_and_finishes_the_others(redis_server: Any, installation: str) -> None:
    async with JobQueue.connect(redis_server.url, installation) as queue:
        await queue.publish_policy(policy(max_depth=1_000_000))
        with Redis.from_url(redis_server.url) as redis:
            redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 3_000_000)
        accepted: list[str] = []
        refusal = ""
        while not refusal:
            try:
                accepted.append((await queue.submit(new_job(prompt="a red car " * 400))).job.id)
            except QueueUnavailable as error:
                refusal = str(error)
        assert "Redis is full: raise its `maxmemory`" in refusal
        assert len(accepted) > 100
        while claims := (await queue.claim(FLEET, worker="w", revision="r1")).claims:
            await queue.beat(claims[0], Progress(stage="denoising"))
            await queue.succeed(claims[0], result(claims[0].attempt))
        assert {(await queue.get(job_id)).state for job_id in accepted} == {JobState.SUCCEEDED}
        with pytest.raises(QueueUnavailable, match="full"):
            await queue.submit(new_job())
        for job_id in accepted:
            await queue.remove(job_id)
        assert (await queue.submit(new_job())).created


async def test_no_clock_but_redis_decides(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways and workers whose clocks are an hour off, either way, and jump."""
    await queue.publish_policy(policy(max_depth=1_000_000))
    now = time.time

    def skew(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: int((now() + seconds) * 1e9))

    order = []
    for seconds in (3600, -3600, 0):
        skew(seconds)
        order.append((await queue.submit(new_job())).job.id)
    claims = []
    for seconds in (-3600, 3600, 7200):
        skew(seconds)
        claims += (await queue.claim(FLEET, worker="w", revision="r1")).claims
        assert await queue.reap(FLEET) == [], "no lease ends early"
    assert [claim.job.id for claim in claims] == order
    for claim in claims:
        await queue.beat(claim, Progress(stage="denoising"))
        assert await queue.succeed(claim, result(claim.attempt)) is JobState.SUCCEEDED
    (row,) = await queue.outcomes(FLEET)
    assert row.worker_s < 60


async def test_a_redis_that_accepts_and_says_nothing_is_an_outage(
    installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half open, or stopped: nobody waits for it without end, however many calls there are."""
    monkeypatch.setattr(connection, "_REPLY_S", 1.5)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        async with JobQueue.connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", installation) as queue:
            async with asyncio.timeout(60):
                replies = await asyncio.gather(*(queue.submit(new_job()) for _ in range(100)), return_exceptions=True)
    assert {type(reply) for reply in replies} == {QueueUnavailable}
