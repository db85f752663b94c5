"""A tenant's limits over all fleets: never exceeded, free again when jobs end, safe against submissions that die."""

import asyncio
import os
import time
from typing import Any

import pytest

from videofleet import ids
from videofleet.jobs import ErrorCode, JobState, NewJob, Priority, VideoRequest
from videofleet.queue import FleetUnknown, Limit, LimitReached, QueueFull, TenantLimits
from videofleet.queue.limits import Reservation

Fleet = Any  # the fixture's class lives in conftest.py
SECOND = "1b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a11"


def job_in(fleet: Fleet, uid: str, **fields: Any) -> NewJob:
    job_id = ids.job_id(uid, time.time_ns() // 1_000_000, os.urandom(10))
    request = VideoRequest(prompt="a red car", seed=1, tier=fleet.full)
    return NewJob(id=job_id, fleet_uid=uid, tenant="studio", request=request, **fields)


@pytest.fixture
async def both(ruled: Fleet) -> Fleet:
    """Two fleets."""
    await ruled.publish(fleet_uid=SECOND, fleet="studio/second")
    return ruled


async def submit(fleet: Fleet, limits: TenantLimits, uid: str | None = None, **fields: Any) -> str:
    submitted = await fleet.queue.submit(job_in(fleet, uid or fleet.uid, **fields), limits)
    return str(submitted.job.id)


async def refused(fleet: Fleet, limits: TenantLimits, uid: str | None = None) -> Limit:
    with pytest.raises(LimitReached) as refusal:
        await submit(fleet, limits, uid)
    return refusal.value.limit


async def test_what_waits_in_every_fleet_counts_and_is_free_again_at_once(both: Fleet) -> None:
    limits = TenantLimits(queued=2)
    first = await submit(both, limits)
    await submit(both, limits, SECOND)
    assert await refused(both, limits) is Limit.QUEUED
    assert await refused(both, limits, SECOND) is Limit.QUEUED
    assert (await both.queue.submit(job_in(both, SECOND).model_copy(update={"tenant": "ads"}), limits)).created
    claim = await both.claim()
    assert claim.job.id == first
    await submit(both, limits)
    unfinished = TenantLimits(queued=9, unfinished=3)
    assert await refused(both, unfinished) is Limit.UNFINISHED
    await both.succeed(claim)
    await submit(both, unfinished)


async def test_jobs_from_before_the_limit_count_too(both: Fleet) -> None:
    await both.queue.submit(job_in(both, SECOND))
    assert await refused(both, TenantLimits(queued=1)) is Limit.QUEUED


async def test_submissions_at_the_very_same_time_never_exceed_a_limit(both: Fleet) -> None:
    limits = TenantLimits(queued=7)
    jobs = [job_in(both, (both.uid, SECOND)[n % 2]) for n in range(40)]
    replies = await asyncio.gather(*(both.queue.submit(job, limits) for job in jobs), return_exceptions=True)
    assert all(isinstance(reply, LimitReached) for reply in replies if isinstance(reply, Exception))
    accepted = sum(not isinstance(reply, BaseException) for reply in replies)
    assert 1 <= accepted <= 7
    for _ in range(7 - accepted):
        await submit(both, limits)
    assert await refused(both, limits) is Limit.QUEUED


async def test_seconds_are_reserved_by_the_tier_and_settled_by_what_was_used(both: Fleet) -> None:
    job_id = await submit(both, TenantLimits(seconds_a_day=700))  # 597 s by the size of it
    assert await refused(both, TenantLimits(seconds_a_day=700), SECOND) is Limit.SECONDS
    claim = await both.claim()
    await both.passes(claim, 50)
    await both.succeed(claim)
    await submit(both, TenantLimits(seconds_a_day=700), SECOND)
    used = await both.queue.usage([both.uid, SECOND], "studio")
    assert (used.jobs[JobState.SUCCEEDED], used.jobs[JobState.QUEUED]) == (1, 1)
    assert used.worker_seconds == pytest.approx(50, abs=2)
    await both.queue.remove(job_id)
    again = await both.queue.usage([both.uid, SECOND], "studio")
    assert (again.jobs[JobState.SUCCEEDED], again.worker_seconds) == (0, used.worker_seconds)


async def test_yesterdays_seconds_do_not_count(both: Fleet) -> None:
    await submit(both, TenantLimits(seconds_a_day=700))
    claim = await both.claim()
    await both.passes(claim, 650)
    await both.succeed(claim)
    limits = TenantLimits(seconds_a_day=700)
    assert await refused(both, limits) is Limit.SECONDS
    usage = f"{both.prefix}:usage:studio"
    assert int(await both.redis.hget(usage, "day")) == int(time.time() // 86400)
    await both.redis.hset(usage, mapping={"day": int(time.time() // 86400) - 1})
    await submit(both, limits)


async def test_a_repeat_is_never_refused(both: Fleet) -> None:
    limits = TenantLimits(queued=1)
    first = await submit(both, limits, idempotency_key="k", body_digest="b")
    assert await submit(both, limits, idempotency_key="k", body_digest="b") == first
    assert await refused(both, limits) is Limit.QUEUED


async def test_a_submission_that_is_refused_gives_its_place_back(both: Fleet) -> None:
    limits = TenantLimits(queued=1)
    with pytest.raises(FleetUnknown):
        await submit(both, limits, "2b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a12")
    await both.publish(fleet_uid=SECOND, max_depth=0)
    with pytest.raises(QueueFull):
        await submit(both, limits, SECOND)
    await submit(both, limits)


async def test_a_submission_that_dies_blocks_its_place_only_until_it_expires(both: Fleet, installation: str) -> None:
    limits = TenantLimits(queued=1)
    dying = Reservation(both.queue._connection, installation, job_in(both, both.uid), limits)
    await dying.__aenter__()
    assert await refused(both, limits) is Limit.QUEUED
    key = f"vf:{{{installation}/tenant/studio}}:reserved"
    (job_id, text), *_ = (await both.redis.hgetall(key)).items()
    ends_ms, rest = text.split(" ", 1)
    assert 0 < int(ends_ms) - time.time() * 1000 <= 31_000
    await both.redis.hset(key, mapping={job_id: f"1 {rest}"})
    await submit(both, limits)


async def test_cancelled_and_dead_jobs_are_free_again(both: Fleet) -> None:
    limits = TenantLimits(unfinished=1)
    await both.queue.cancel(await submit(both, limits), ErrorCode.CANCELLED_BY_USER)
    job_id = await submit(both, limits)
    await both.queue.fail(await both.claim(), ErrorCode.GENERATION_FAILED, "it raised", retry=False)
    await submit(both, limits)
    assert (await both.queue.get(job_id)).state is JobState.FAILED
    usage = await both.redis.hgetall(f"{both.prefix}:usage:studio")
    assert int(usage["ahead_ms"]) == pytest.approx(597_000, abs=1000)


async def claimed(fleet: Fleet, most: int = 1) -> list[str]:
    """Tenants of the jobs that a worker gets."""
    return [claim.job.tenant for claim in (await fleet.ask(most=most)).claims]


async def test_others_go_past_a_tenant_that_has_as_many_running_as_it_may(both: Fleet) -> None:
    limits = TenantLimits(running=2)
    for tenant in ("studio", "studio", "studio", "ads", "ads"):
        await both.queue.submit(job_in(both, both.uid).model_copy(update={"tenant": tenant}), limits)
    claims = [await both.claim() for _ in range(4)]
    assert sorted(claim.job.tenant for claim in claims) == ["ads", "ads", "studio", "studio"]
    assert await claimed(both) == [], "the third of the studio waits"
    await both.succeed(next(claim for claim in claims if claim.job.tenant == "studio"))
    assert await claimed(both) == ["studio"]


@pytest.mark.parametrize("how", ["failed", "lost", "given back", "cancelled"])
async def test_a_running_place_is_free_however_the_attempt_ends(both: Fleet, how: str) -> None:
    for _ in range(2):
        await submit(both, TenantLimits(running=1))
    claim = await both.claim()
    assert await claimed(both) == []
    match how:
        case "failed":
            await both.queue.fail(claim, ErrorCode.GENERATION_FAILED, "it raised", retry=False)
        case "lost":
            await both.lease_ends(claim)
        case "given back":
            await both.queue.give_back(claim)
        case "cancelled":
            await both.queue.cancel(claim.job.id, ErrorCode.CANCELLED_BY_USER)
            await both.queue.cancelled(claim)
    assert await claimed(both) == ["studio"]
    assert await claimed(both) == []


@pytest.mark.parametrize("tenants", [None, ["studio", "ads"]])
async def test_a_batch_holds_no_more_of_a_tenant_than_may_run(both: Fleet, tenants: list[str] | None) -> None:
    await both.publish(tenants=tenants)
    for _ in range(4):
        await submit(both, TenantLimits(running=2))
    assert await claimed(both, most=4) == ["studio", "studio"]
    assert await claimed(both, most=4) == []


async def test_batch_that_waited_too_long_is_held_to_the_cap_too(both: Fleet) -> None:
    await both.publish(batch_max_wait_s=60)
    ids_of = [await submit(both, TenantLimits(running=1), priority=Priority.BATCH) for _ in range(2)]
    for job_id in ids_of:
        await both.redis.hset(f"{both.prefix}:job:{job_id}", mapping={"queued_at_ms": 1})
    await both.submit("ads")
    assert [*await claimed(both), *await claimed(both), *await claimed(both)] == ["studio", "ads"]


async def test_a_cap_is_per_fleet_and_the_latest_submission_tells_it(both: Fleet) -> None:
    for uid in (both.uid, SECOND):
        for _ in range(2):
            await submit(both, TenantLimits(running=1), uid)
    assert await claimed(both) == ["studio"]
    assert (await both.queue.claim(SECOND, worker="w2", revision="r1")).claims, "of the other fleet"
    assert await claimed(both) == []
    await submit(both, TenantLimits())
    assert [*await claimed(both), *await claimed(both)] == ["studio", "studio"], "nothing holds it back any more"
