"""Durability `wait` on a primary with a real replica, and the hash tag of every key that the scripts touch."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from specimens import FLEET, new_job, policy, result

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import ErrorCode, Progress, Verdict
from videofleet.policy import CanaryRule, Track
from videofleet.queue import (
    Batch,
    BatchLine,
    Decoded,
    DecodeOrder,
    Durability,
    JobQueue,
    QueueError,
    QueueUnavailable,
    Settled,
    TenantLimits,
    durability,
    scripts,
)


@pytest.fixture
def replica(redis_server: Any, tmp_path: Path) -> Iterator[Any]:
    """A replica of `redis_server` that is up to date."""
    folder = tmp_path / "replica"
    folder.mkdir()
    primary = ["--replicaof", "127.0.0.1", str(redis_server.port), "--masterauth", redis_server.password]
    server = type(redis_server)(folder, *primary)
    server.start()
    with Redis.from_url(server.url, decode_responses=True) as redis:
        deadline = time.monotonic() + 60
        while redis.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline, "the replica did not connect"
            time.sleep(0.05)
    yield server
    server.kill()  # SIGTERM is ignored while the first AOF is being written


async def test_wait_is_refused_without_a_replica(redis_server: Any, installation: str) -> None:
    async with JobQueue.connect(redis_server.url, installation, Durability.WAIT) as queue:
        with pytest.raises(QueueError, match="connect a replica"):
            await queue.check_durability()
        await queue.publish_policy(policy())
        with pytest.raises(QueueUnavailable, match="no replica"):
            await queue.submit(new_job())


async def test_what_wait_announced_is_on_the_replica(redis_server: Any, replica: Any, installation: str) -> None:
    async with JobQueue.connect(redis_server.url, installation, Durability.WAIT) as queue:
        await queue.check_durability()
        await queue.publish_policy(policy())
        jobs = [(await queue.submit(new_job())).job.id for _ in range(20)]
        (claim,) = (await queue.claim(FLEET, worker="w1", revision="r1")).claims
        await queue.succeed(claim, result())
        await queue.cancel(jobs[1], ErrorCode.CANCELLED_BY_USER)
    redis_server.kill()
    with Redis.from_url(replica.url) as redis:
        redis.replicaof("NO", "ONE")  # the failover
    async with JobQueue.connect(replica.url, installation, Durability.AOF) as queue:
        states = [(await queue.get(job_id)).state for job_id in jobs]
    assert states == ["succeeded", "cancelled", *["queued"] * 18]


async def test_a_replica_that_stops_is_an_outage_and_the_repeat_is_the_same_job(
    redis_server: Any, replica: Any, installation: str
) -> None:
    async with JobQueue.connect(redis_server.url, installation, Durability.WAIT) as queue:
        await queue.publish_policy(policy())
        job = new_job()
        await queue.submit(new_job())
        replica.process.send_signal(signal.SIGSTOP)  # connected, and silent
        try:
            for _ in range(2):
                with pytest.raises(QueueUnavailable, match="no replica"):
                    await queue.submit(job)
        finally:
            replica.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 60
        while True:
            try:
                submitted = await queue.submit(job)
                break
            except QueueUnavailable:
                assert time.monotonic() < deadline
        assert (submitted.job.id, submitted.created) == (job.id, False)


def test_a_managed_redis_is_asked_for_no_eviction_only() -> None:
    durability.check({"maxmemory_policy": "noeviction"}, Durability.MANAGED)
    with pytest.raises(QueueError, match="noeviction"):
        durability.check({"maxmemory_policy": "allkeys-lru"}, Durability.MANAGED)


async def test_every_key_of_a_script_lies_in_its_slot(redis_server: Any, installation: str) -> None:
    """As MONITOR sees it while every script runs. A cluster would refuse a script that leaves its slot."""
    watching, keys = threading.Event(), list[tuple[str, str]]()
    watcher = threading.Thread(target=note_keys, args=(redis_server.url, watching, keys))
    watcher.start()
    assert watching.wait(60)
    try:
        ran = await every_script(redis_server.url, installation)
    finally:
        with Redis.from_url(redis_server.url) as redis:
            redis.echo("the end")
        watcher.join(60)
    assert ran == set(scripts.NAMES), "a script is missing here"
    assert len(keys) > 200
    fleet, tenant = f"vf:{{{installation}/{FLEET}}}", f"vf:{{{installation}/tenant/studio}}"
    assert {key for prefix, key in keys if not key.startswith(f"{prefix}:")} == set()
    assert {prefix for prefix, _ in keys} == {fleet, tenant, f"vf:{{{installation}}}"}


@pytest.mark.parametrize("name", scripts.NAMES)
def test_no_script_corrupts_an_older_redis(name: str) -> None:
    assert "'INCRBYFLOAT'" not in scripts.source(name), "see redis/redis#11652; use HINCRBYFLOAT"


def note_keys(url: str, watching: threading.Event, keys: list[tuple[str, str]]) -> None:
    """KEYS[1] and the first argument of each command that a script calls, until somebody says the end."""
    prefix = ""
    with Redis.from_url(url, decode_responses=True) as redis, redis.monitor() as monitor:
        watching.set()
        for seen in monitor.listen():
            if seen["command"] == "ECHO the end":
                return
            words = seen["command"].split(" ")
            if seen["client_type"] == "lua" and len(words) > 1:
                keys.append((prefix, words[1]))
            elif words[0] == "EVALSHA":
                prefix = words[3]


async def decode_one(queue: JobQueue) -> None:
    """Offered, taken, answered, withdrawn."""
    order = DecodeOrder(job="j", attempt=1, request=new_job().request, latents_key="k")
    await queue.decodes.ask(FLEET, "r1", "j/1", order)
    taken = await queue.decodes.take(FLEET, "r1")
    assert taken is not None
    await queue.decodes.beat(FLEET, taken)
    await queue.decodes.settle(FLEET, taken, Decoded())
    await queue.decodes.withdraw(FLEET, "r1", "j/1")


async def every_script(url: str, installation: str) -> set[str]:
    """Runs each script at least once on a path that does something. Returns: the names run."""
    ran: set[str] = set()
    async with JobQueue.connect(url, installation) as queue:
        connection = queue._connection
        run = connection.run

        async def noted(name: str, prefix: str, *args: str | int | float) -> Any:
            ran.add(name)
            return await run(name, prefix, *args)

        connection.run = noted  # type: ignore[method-assign]  # a spy that passes on
        await queue.publish_policy(policy())

        async def claim() -> Any:
            (claim,) = (await queue.claim(FLEET, worker="w1", revision="r1")).claims
            return claim

        jobs = [(await queue.submit(new_job())).job.id for _ in range(9)]
        held = await claim()
        await queue.beat(held, Progress(stage="denoising", step=1, steps=4))
        await queue.succeed(held, result())
        await queue.fail(await claim(), ErrorCode.GENERATION_FAILED, "it raised", retry=True)
        await queue.give_back(await claim())
        held = await claim()
        await queue.cancel(held.job.id, ErrorCode.CANCELLED_BY_USER)
        await queue.cancelled(held)
        with Redis.from_url(url) as redis:
            redis.hset(f"vf:{{{installation}/{FLEET}}}:requests", jobs[3], "garbage")
        await claim()
        await queue.ahead(jobs[-1])
        await queue.submit(new_job(), TenantLimits(queued=100))
        await queue.replay(jobs[3])
        await queue.remove(jobs[0])
        await queue.leaving.purge(jobs[1])
        await queue.leaving.expire(FLEET)
        await queue.leaving.begin_erasure([FLEET])
        await queue.leaving.forget_tenant("studio", [FLEET])
        await decode_one(queue)
        again = (await queue.submit(new_job())).job
        await queue.cache.remember(again, "studio", "digest")
        await queue.cache.answered(again, result(), await queue.cache.owe(FLEET, "videos", "out/x/0"))
        await queue.opinions.rate(again.id, 5, None)
        await queue.verdicts.keep(again.id, Verdict.ALLOWED)
        for owed in await queue.leaving.owed(FLEET):
            await queue.leaving.paid(owed)
        await queue.reap(FLEET)
        told = (await queue.submit(new_job(webhook="https://a.example/b"))).job
        await queue.cancel(told.id, ErrorCode.CANCELLED_BY_USER)
        (notice,) = await queue.outbox.take(FLEET, 10)
        await queue.outbox.settle(notice, Settled.DISABLED)
        await queue.outbox.depth(FLEET)
        keyed = new_job(idempotency_key="k", body_digest="b")
        await queue.submit(keyed)
        await queue.idempotency.forget(keyed)
        batch = Batch("batch_0", "studio", 0, total=1, cursor=0)
        await queue.batches.create(batch, [BatchLine(number=1, job=new_job())], "digest", "body")
        await queue.batches.take(10)
        await queue.batches.commit(batch, 0, [BatchLine(number=1, video_id=jobs[-1])])
        trial = CanaryRule(revision="r2", weight_permille=10)
        tracks = policy().tracks | {"r2": Track.CANARY}
        await queue.publish_policy(policy(tracks=tracks, canary=trial))
        assert await queue.golden.ask(FLEET, "r2", [new_job().request]) == 1
        await queue.stats(FLEET)
        await queue.put_beacon(FLEET, WorkerBeacon(worker="w1", revision="r1", state=WorkerState.READY))
        await queue.beacons(FLEET)
        await queue.close_fleet(FLEET, ErrorCode.FLEET_DELETED)
        prefix = f"vf:{{{installation}/{FLEET}}}"
        with Redis.from_url(url) as redis:  # all has left, long ago
            redis.delete(*(f"{prefix}:{name}" for name in ("requests", "finished", "running", "leaving")))
            redis.hset(f"{prefix}:totals", "closed_at_ms", 1)
        assert await queue.leaving.sweep(FLEET)
    return ran
