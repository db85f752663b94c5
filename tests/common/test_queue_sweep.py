"""A fleet that was deleted leaves Redis after its last record and file, and nobody who is late brings a key back."""

import re
from pathlib import Path
from typing import Any

import pytest

from videofleet import ids
from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import Claim, ErrorCode, JobState, Priority, Progress
from videofleet.policy import Track
from videofleet.queue import FleetClosed, JobNotFound, JobQueue, QueueError, TenantLimits, scripts
from videofleet.queue import leaving as leaving_module

Fleet = Any  # the fixture's class lives in conftest.py
READY = WorkerBeacon(worker="w1", revision="r1", state=WorkerState.READY)
GONE = ErrorCode.FLEET_DELETED


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a folder's second deletion, or for a closed fleet to have been so for a while."""
    monkeypatch.setattr(leaving_module, "LINGER_MS", 0)
    monkeypatch.setattr(leaving_module, "AGAIN_MS", 0)


async def fleet_keys(ruled: Fleet, *, lasting: bool = False) -> set[str]:
    """Names of the keys with the fleet's prefix, without it; `lasting`: only those that never end by themselves."""
    found = [key async for key in ruled.redis.scan_iter(match=f"{ruled.prefix}*", count=1000)]
    if lasting:
        found = [key for key in found if await ruled.redis.pttl(key) == -1]
    return {key.removeprefix(f"{ruled.prefix}:") for key in found}


async def has_lived(ruled: Fleet) -> Claim:
    """Something of everything that a fleet keeps. Returns: an attempt that still runs."""
    queue: JobQueue = ruled.queue
    await ruled.publish_canary(500, retention_s=3600)
    for revision in ("r1", "r2"):
        await queue.put_beacon(ruled.uid, READY.model_copy(update={"worker": revision, "revision": revision}))
    for priority in Priority:
        for tenant in ("studio", "ads", "film"):
            await ruled.submit(
                tenant, priority=priority, webhook="https://hooks.example.com/a", idempotency_key=priority
            )
    for revision in ("r1", "r2"):
        ended = await ruled.claim(revision)
        await queue.cache.remember(ended.job, "shared", "digest")
        await ruled.succeed(ended)
        await queue.opinions.rate(ended.job.id, 5, "sharp")
        await queue.fail(await ruled.claim(revision), ErrorCode.GENERATION_FAILED, "it broke", retry=False)
        await queue.fail(await ruled.claim(revision), ErrorCode.GENERATION_FAILED, "it broke", retry=True)
    await ruled.publish_fallback(500, retention_s=3600)
    running: Claim = await ruled.claim()
    await queue.beat(running, Progress(stage="denoising", step=1, steps=40))
    await queue.leaving.begin_erasure([ruled.uid])
    await queue.intake.pause(ruled.uid)
    return running


async def leave(ruled: Fleet) -> bool:
    """What the gateways do in their rounds: records, folders, and the fleet. Returns: whether it has left."""
    while await ruled.queue.leaving.expire(ruled.uid):
        pass
    while owed := await ruled.queue.leaving.owed(ruled.uid):
        for each in owed:
            await ruled.queue.leaving.paid(each)
    return bool(await ruled.queue.leaving.sweep(ruled.uid))


async def close(ruled: Fleet, running: Claim) -> None:
    await ruled.queue.close_fleet(ruled.uid, GONE)
    await ruled.queue.cancelled(running)


async def test_a_deleted_fleet_leaves_only_a_tombstone_that_ends(ruled: Fleet) -> None:
    running = await has_lived(ruled)
    assert len(await fleet_keys(ruled)) > 25, "the test is to leave something of everything"
    await close(ruled, running)
    assert not await leave(ruled), "its results are kept"
    assert (await ruled.queue.get(running.job.id)).state is JobState.CANCELLED
    await ruled.publish(retention_s=0)
    assert await leave(ruled)
    assert await fleet_keys(ruled) == {"closed"}
    assert 0 < await ruled.redis.pttl(f"{ruled.prefix}:closed") <= leaving_module.TOMBSTONE_MS
    assert await ruled.queue.fleets() == {}
    assert await ruled.queue.intake.paused() == set()
    assert await ruled.queue.policy(ruled.uid) is None


async def test_a_fleet_stays_while_it_lives_or_owes_or_keeps(ruled: Fleet) -> None:
    await ruled.publish(retention_s=0)
    assert not await ruled.queue.leaving.sweep(ruled.uid), "it is not closed"
    await ruled.succeed(await has_one_running(ruled))
    before = await fleet_keys(ruled)
    assert not await ruled.queue.leaving.sweep(ruled.uid)
    assert await fleet_keys(ruled) == before
    running = await has_one_running(ruled)
    await ruled.queue.close_fleet(ruled.uid, GONE)
    assert not await leave(ruled), "a job runs"
    await ruled.queue.cancelled(running)
    await ruled.queue.leaving.expire(ruled.uid)
    assert not await ruled.queue.leaving.sweep(ruled.uid), "the store still has its files"
    assert await leave(ruled)


async def has_one_running(ruled: Fleet) -> Claim:
    await ruled.submit()
    claim: Claim = await ruled.claim()
    return claim


async def test_who_is_late_brings_nothing_back(ruled: Fleet) -> None:
    running = await has_lived(ruled)
    policy = await ruled.queue.policy(ruled.uid)
    await close(ruled, running)
    await ruled.publish(retention_s=0)
    assert await leave(ruled)
    await ruled.redis.delete(f"{ruled.prefix}:closed")  # even after the tombstone
    queue, claim = ruled.queue, running
    for late in (
        lambda: queue.beat(claim, Progress(stage="denoising", step=2, steps=40)),
        lambda: ruled.succeed(claim),
        lambda: queue.fail(claim, ErrorCode.GENERATION_FAILED, "late", retry=True),
        lambda: queue.give_back(claim),
        lambda: queue.cancelled(claim),
        lambda: queue.cancel(claim.job.id, GONE),
        lambda: queue.replay(claim.job.id),
        lambda: ruled.submit("studio", idempotency_key="late"),
        lambda: queue.cache.owe(ruled.uid, "videos", "studio/x"),
        lambda: queue.opinions.rate(claim.job.id, 1, None),
    ):
        with pytest.raises(QueueError):
            await late()
    await queue.put_beacon(ruled.uid, READY)
    await queue.drop_beacon(ruled.uid, "w1")
    await queue.cache.remember(claim.job, "shared", "digest")
    await queue.leaving.begin_erasure([ruled.uid])
    await queue.leaving.forget_tenant("studio", [ruled.uid])
    assert (await ruled.ask()).claims == []
    assert await queue.reap(ruled.uid) == []
    assert (await queue.stats(ruled.uid)).waiting == 0
    assert await fleet_keys(ruled, lasting=True) == set()
    await queue.close_fleet(ruled.uid, GONE)
    with pytest.raises(FleetClosed):
        await queue.publish_policy(policy)
    assert await fleet_keys(ruled, lasting=True) == set()
    assert await queue.leaving.sweep(ruled.uid)
    assert await queue.fleets() == {}, "the late leader had listed it again"


async def test_many_tenants_leave_page_by_page_and_a_crash_between_costs_nothing(
    ruled: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ruled.publish(retention_s=0)
    limits = TenantLimits(queued=10)
    for number in range(120):
        await ruled.submit(f"tenant-{number}", limits=limits)
    assert await ruled.redis.smembers(f"vf:{{{ruled.installation}/tenant/tenant-7}}:fleets") == {ruled.uid}
    await ruled.queue.close_fleet(ruled.uid, GONE)
    while await ruled.queue.leaving.expire(ruled.uid):
        pass
    goes_on = ruled.queue.leaving._run

    async def dies(script: str, *args: Any) -> Any:
        if script == "forget_tenant" and not await ruled.redis.exists(f"{ruled.prefix}:usage:tenant-7"):
            raise ConnectionResetError
        return await goes_on(script, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ruled.queue.leaving, "_run", dies)
        with pytest.raises(ConnectionResetError):
            await ruled.queue.leaving.sweep(ruled.uid)
    assert ruled.uid in await ruled.queue.fleets()
    assert await ruled.queue.leaving.sweep(ruled.uid)
    assert await fleet_keys(ruled) == {"closed"}
    assert [key async for key in ruled.redis.scan_iter(match=f"vf:{{{ruled.installation}*:fleets", count=1000)] == []


async def test_a_closed_fleet_tells_for_a_while_that_it_is(ruled: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_module, "LINGER_MS", 60_000)
    await ruled.publish(retention_s=0)
    await ruled.queue.close_fleet(ruled.uid, GONE)
    assert not await leave(ruled)
    with pytest.raises(FleetClosed):
        await ruled.submit()
    await ruled.redis.hincrby(f"{ruled.prefix}:totals", "closed_at_ms", -60_000)
    assert await leave(ruled)


async def test_every_key_that_a_script_names_is_swept(ruled: Fleet) -> None:
    lua = Path(scripts.__file__).with_name("lua")
    files = (file for file in lua.glob("*.lua") if not file.stem.startswith(("reserv", "batch_", "idem_", "settle")))
    names = {name for file in files for name in re.findall(r"P \.\. ':(\w+)'", file.read_text())}
    assert len(names) > 20
    await ruled.queue.close_fleet(ruled.uid, GONE)
    for name in names - {"policy", "totals", "closed", "requests", "finished", "running", "leaving", "nothing"}:
        await ruled.redis.hset(f"{ruled.prefix}:{name}", "some", "thing")
    assert await ruled.queue.leaving.sweep(ruled.uid)
    assert await fleet_keys(ruled) == {"closed"}


async def test_a_record_that_outlives_its_tenant_leaves_no_count(ruled: Fleet) -> None:
    await ruled.publish(retention_s=0)
    await ruled.succeed(await has_one_running(ruled))
    await ruled.queue.leaving.forget_tenant("studio", [ruled.uid])
    await ruled.queue.close_fleet(ruled.uid, GONE)
    assert await leave(ruled)
    assert await fleet_keys(ruled) == {"closed"}


async def test_ids_of_a_fleet_that_left_are_unknown(ruled: Fleet) -> None:
    await ruled.publish(retention_s=0, tracks={"r1": Track.STABLE})
    await ruled.queue.close_fleet(ruled.uid, GONE)
    assert await leave(ruled)
    with pytest.raises(JobNotFound):
        await ruled.queue.get(ids.job_id(ruled.uid, 1, bytes(10)))
