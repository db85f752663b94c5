"""A running batch job makes room for somebody who looks at the screen, and not too often."""

import time
from typing import Any

from videofleet.jobs import Claim, ErrorCode, JobState, Priority, Progress

Fleet = Any  # the fixture's class lives in conftest.py
HALFWAY = Progress(stage="denoising", step=20, steps=40)


async def waits(ruled: Fleet, job: str, seconds: float) -> None:
    """The job was submitted so long ago."""
    await ruled.redis.hset(f"{ruled.prefix}:job:{job}", "queued_at_ms", int((time.time() - seconds) * 1000))


async def running(ruled: Fleet, seconds: float = 120, priority: Priority = Priority.BATCH) -> Claim:
    """A job that a worker has had for so long."""
    await ruled.submit(priority=priority)
    claim = await ruled.claim()
    await ruled.passes(claim, seconds)
    return claim


async def somebody(ruled: Fleet, seconds: float = 10) -> str:
    """An interactive job that waits."""
    job = await ruled.submit(priority=Priority.INTERACTIVE)
    await waits(ruled, job, seconds)
    return str(job)


async def yields(ruled: Fleet, claim: Claim, progress: Progress = HALFWAY) -> bool:
    return bool((await ruled.queue.beat(claim, progress)).yield_requested)


async def test_a_batch_job_is_asked_gives_way_and_comes_back_with_its_attempts(ruled: Fleet) -> None:
    claim = await running(ruled)
    assert not await yields(ruled, claim), "nobody waits"
    urgent = await somebody(ruled)
    assert await yields(ruled, claim)
    assert await yields(ruled, claim), "it stays so: the answer may have been lost"
    assert await ruled.queue.give_back(claim) is JobState.QUEUED
    first = await ruled.claim()
    assert first.job.id == urgent
    await ruled.succeed(first)
    again = await ruled.claim()
    assert (again.job.id, again.attempt) == (claim.job.id, 2)


async def test_nothing_is_asked_of_others_or_too_soon_or_too_late(ruled: Fleet) -> None:
    standard, fresh, late = (
        await running(ruled, priority=Priority.STANDARD),
        await running(ruled, seconds=50),
        await running(ruled),
    )
    await somebody(ruled)
    assert not await yields(ruled, standard), "only batch jobs give way"
    assert not await yields(ruled, fresh), "it has only just begun"
    assert not await yields(ruled, late, Progress(stage="denoising", step=33, steps=40)), "it is as good as done"
    assert not await yields(ruled, late, Progress(stage="decoding", step=40, steps=40))
    assert await yields(ruled, late)


async def test_nothing_is_asked_while_a_free_worker_may_come(ruled: Fleet) -> None:
    claim = await running(ruled)
    await somebody(ruled, seconds=2)
    assert not await yields(ruled, claim)


async def test_as_many_give_way_as_wait(ruled: Fleet) -> None:
    claims = [await running(ruled) for _ in range(3)]
    waiting = [await somebody(ruled) for _ in range(2)]
    assert [await yields(ruled, claim) for claim in claims] == [True, True, False]
    await ruled.queue.cancel(waiting[0], ErrorCode.CANCELLED_BY_USER)
    await ruled.queue.give_back(claims[0])
    assert not await yields(ruled, claims[2]), "one waits, and one is on its way out"
    await ruled.queue.give_back(claims[1])
    assert await yields(ruled, claims[2]), "nobody has taken it"


async def test_a_job_that_has_waited_as_long_as_batch_may_is_left_alone(ruled: Fleet) -> None:
    await ruled.publish(batch_max_wait_s=600)
    claim = await running(ruled)
    await waits(ruled, claim.job.id, 700)
    await somebody(ruled)
    assert not await yields(ruled, claim), "it would be the first to be claimed again"
    await waits(ruled, claim.job.id, 500)
    assert await yields(ruled, claim)


async def test_nothing_is_asked_where_an_old_batch_job_would_be_taken_instead(ruled: Fleet) -> None:
    await ruled.publish(batch_max_wait_s=600)
    claim = await running(ruled)
    old = await ruled.submit(priority=Priority.BATCH)
    await waits(ruled, old, 700)
    await somebody(ruled)
    assert not await yields(ruled, claim)


async def test_a_job_gives_way_three_times_at_most(ruled: Fleet) -> None:
    claim = await running(ruled)
    for _ in range(3):
        urgent = await somebody(ruled)
        assert await yields(ruled, claim)
        await ruled.queue.give_back(claim)
        first = await ruled.claim()
        assert first.job.id == urgent
        await ruled.succeed(first)
        claim = await ruled.claim()
        await ruled.passes(claim, 120)
    await somebody(ruled)
    assert not await yields(ruled, claim)


async def test_a_cancel_comes_before_a_yield(ruled: Fleet) -> None:
    claim = await running(ruled)
    await somebody(ruled)
    await ruled.queue.cancel(claim.job.id, ErrorCode.CANCELLED_BY_USER)
    reply = await ruled.queue.beat(claim, HALFWAY)
    assert (reply.cancel_requested, reply.yield_requested) == (True, False)


async def test_nobody_makes_room_for_a_tenant_that_may_have_no_more_running(ruled: Fleet) -> None:
    claim = await running(ruled)
    urgent = await somebody(ruled)
    key = f"{ruled.prefix}:usage:studio"
    await ruled.redis.hset(key, "most_running", 1)
    assert not await yields(ruled, claim)
    await ruled.redis.hset(key, "most_running", 2)
    assert await yields(ruled, claim)
    assert (await ruled.claim()).job.id == urgent
