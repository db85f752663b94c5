"""The queue's arrows on a real Redis: what is accepted ends once, and a zombie changes nothing."""

import asyncio
import time

import pytest
from specimens import FLEET, new_job, policy, result

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import ErrorCode, JobState, Progress, VideoRequest
from videofleet.policy import Track
from videofleet.queue import (
    FleetClosed,
    FleetUnknown,
    IdempotencyConflict,
    JobNotFinished,
    JobNotFound,
    JobQueue,
    LeaseLost,
    QueueError,
    QueueFull,
    QueueUnavailable,
)
from videofleet.queue import client as client_module

OTHER_FLEET = "1b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a11"
DENOISING = Progress(stage="denoising", step=1, steps=4)


@pytest.fixture
async def fleet(queue: JobQueue) -> JobQueue:
    await queue.publish_policy(policy())
    return queue


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LEASE_MS", 40)


async def claim(queue: JobQueue, worker: str = "w1") -> client_module.Claim:
    (found,) = (await queue.claim(FLEET, worker=worker, revision="r1")).claims
    return found


async def reaped(queue: JobQueue) -> list[str]:
    """Waits until the lease has run out."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if touched := await queue.reap(FLEET):
            return touched
        await asyncio.sleep(0.005)
    raise TimeoutError("no lease ran out")


async def test_a_job_goes_from_submit_to_result(fleet: JobQueue) -> None:
    submitted = await fleet.submit(new_job())
    assert submitted.created
    assert submitted.job.state is JobState.QUEUED
    held = await claim(fleet)
    assert (held.job.id, held.attempt) == (submitted.job.id, 1)
    assert not (await fleet.beat(held, DENOISING)).cancel_requested
    assert (await fleet.get(held.job.id)).progress == DENOISING
    assert await fleet.succeed(held, result(1)) is JobState.SUCCEEDED
    done = await fleet.get(held.job.id)
    assert (done.state, done.result) == (JobState.SUCCEEDED, result(1))
    assert not (await fleet.claim(FLEET, worker="w1", revision="r1")).claims


async def test_jobs_are_claimed_in_the_order_of_submission(fleet: JobQueue) -> None:
    submitted = [(await fleet.submit(new_job())).job.id for _ in range(5)]
    assert [(await claim(fleet)).job.id for _ in range(5)] == submitted


async def test_only_a_revision_with_a_track_is_given_jobs(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    assert not (await fleet.claim(FLEET, worker="w9", revision="r2")).claims
    await fleet.publish_policy(policy(tracks={"r2": Track.STABLE}))
    assert (await fleet.claim(FLEET, worker="w9", revision="r2")).claims


async def test_a_dead_workers_job_is_claimed_again_and_the_zombie_is_refused(
    fleet: JobQueue, short_lease: None
) -> None:
    await fleet.submit(new_job())
    zombie = await claim(fleet, "zombie")
    assert await reaped(fleet) == [zombie.job.id]
    heir = await claim(fleet, "heir")
    assert (heir.job.id, heir.attempt) == (zombie.job.id, 2)
    for call in (
        lambda: fleet.beat(zombie, DENOISING),
        lambda: fleet.succeed(zombie, result(1)),
        lambda: fleet.fail(zombie, ErrorCode.GENERATION_FAILED, "late", retry=True),
        lambda: fleet.give_back(zombie),
        lambda: fleet.cancelled(zombie),
    ):
        with pytest.raises(LeaseLost):
            await call()
    assert await fleet.succeed(heir, result(2)) is JobState.SUCCEEDED
    assert (await fleet.get(heir.job.id)).result == result(2)


async def test_attempts_are_bounded(fleet: JobQueue, short_lease: None) -> None:
    job_id = (await fleet.submit(new_job())).job.id
    for _ in range(3):
        await fleet.beat(await claim(fleet), DENOISING)
        await reaped(fleet)
    dead = await fleet.get(job_id)
    assert (dead.state, dead.error_code) == (JobState.DEAD, ErrorCode.ATTEMPTS_EXHAUSTED)
    assert "3 attempts" in (dead.error_message or "")


async def test_a_drain_spends_no_attempt_and_keeps_the_place(fleet: JobQueue) -> None:
    first = (await fleet.submit(new_job())).job.id
    await fleet.submit(new_job())
    for attempt in range(1, 6):
        held = await claim(fleet)
        assert (held.job.id, held.attempt) == (first, attempt)
        assert await fleet.give_back(held) is JobState.QUEUED
    assert (await fleet.get(first)).state is JobState.QUEUED


async def test_drains_without_end_are_bounded_too(fleet: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GIVE_BACKS", 2)
    await fleet.submit(new_job())
    states = [await fleet.give_back(await claim(fleet)) for _ in range(5)]
    assert states == [JobState.QUEUED] * 4 + [JobState.DEAD]


@pytest.mark.parametrize(
    ("retry", "states"),
    [(True, [JobState.QUEUED, JobState.QUEUED, JobState.DEAD]), (False, [JobState.FAILED])],
)
async def test_a_failed_attempt_is_retried_or_final(
    fleet: JobQueue, retry: bool, states: list[JobState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY_MS", 0)
    await fleet.submit(new_job())
    seen = [
        await fleet.fail(await claim(fleet), ErrorCode.GENERATION_FAILED, "the pipeline raised", retry=retry)
        for _ in states
    ]
    assert seen == states


async def test_endings_recognise_themselves_when_repeated(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    held = await claim(fleet)
    assert await fleet.succeed(held, result(1)) is JobState.SUCCEEDED
    assert await fleet.succeed(held, result(7)) is JobState.SUCCEEDED
    assert (await fleet.get(held.job.id)).result == result(1)


async def test_cancelling_a_waiting_job_is_immediate(fleet: JobQueue) -> None:
    job_id = (await fleet.submit(new_job())).job.id
    job = await fleet.cancel(job_id, ErrorCode.CANCELLED_BY_USER)
    assert (job.state, job.error_code) == (JobState.CANCELLED, "cancelled")
    assert not (await fleet.claim(FLEET, worker="w1", revision="r1")).claims


async def test_a_running_job_sees_the_cancel_at_its_next_beat(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    held = await claim(fleet)
    assert (await fleet.cancel(held.job.id, ErrorCode.CANCELLED_BY_USER)).state is JobState.RUNNING
    assert (await fleet.beat(held, DENOISING)).cancel_requested
    await fleet.cancelled(held)
    assert (await fleet.get(held.job.id)).state is JobState.CANCELLED


async def test_a_cancel_that_came_first_wins_over_the_result(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    held = await claim(fleet)
    await fleet.cancel(held.job.id, ErrorCode.CANCELLED_BY_USER)
    assert await fleet.succeed(held, result(1)) is JobState.CANCELLED
    assert (await fleet.get(held.job.id)).result is None


async def test_cancelling_a_finished_job_changes_nothing(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    held = await claim(fleet)
    await fleet.succeed(held, result(1))
    assert (await fleet.cancel(held.job.id, ErrorCode.CANCELLED_BY_USER)).state is JobState.SUCCEEDED


async def test_closing_a_fleet_cancels_what_waits_and_stops_what_runs(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    running = await claim(fleet)
    waiting = (await fleet.submit(new_job())).job.id
    assert await fleet.close_fleet(FLEET, ErrorCode.FLEET_DELETED) == [waiting]
    assert await fleet.close_fleet(FLEET, ErrorCode.FLEET_DELETED) == []
    job = await fleet.get(waiting)
    assert (job.state, job.error_code) == (JobState.CANCELLED, "fleet_deleted")
    assert "VideoGenerator was deleted" in (job.error_message or "")
    assert (await fleet.beat(running, DENOISING)).cancel_requested
    assert await fleet.give_back(running) is JobState.CANCELLED
    with pytest.raises(FleetClosed):
        await fleet.submit(new_job())
    await fleet.publish_policy(policy())
    closed = await fleet.policy(FLEET)
    assert closed is not None
    assert closed.closed == "fleet_deleted", "a fleet that was deleted never opens again"


async def test_the_depth_limit_is_exact(fleet: JobQueue) -> None:
    await fleet.publish_policy(policy(max_depth=2))
    outcomes = await asyncio.gather(*(fleet.submit(new_job()) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 4
    assert (await fleet.stats(FLEET)).waiting == 2


async def test_a_fleet_without_policy_is_unknown(queue: JobQueue) -> None:
    with pytest.raises(FleetUnknown):
        await queue.submit(new_job())


async def test_the_same_idempotency_key_is_the_same_job(fleet: JobQueue) -> None:
    jobs = [new_job(idempotency_key="k", body_digest="b") for _ in range(20)]
    outcomes = await asyncio.gather(*(fleet.submit(job) for job in jobs))
    assert len({outcome.job.id for outcome in outcomes}) == 1
    assert sum(outcome.created for outcome in outcomes) == 1
    with pytest.raises(IdempotencyConflict):
        await fleet.submit(new_job(idempotency_key="k", body_digest="another"))
    assert (await fleet.submit(new_job(idempotency_key="k", body_digest="b", tenant="ads"))).created, (
        "keys are a tenant's own"
    )


async def test_fifty_at_the_same_time_with_one_key_are_one_job(fleet: JobQueue) -> None:
    replies = await asyncio.gather(*(fleet.submit(new_job(idempotency_key="k", body_digest="b")) for _ in range(50)))
    assert len({reply.job.id for reply in replies}) == 1
    assert sum(reply.created for reply in replies) == 1
    assert (await fleet.stats(FLEET)).waiting == 1


async def test_an_idempotency_key_counts_over_all_fleets_of_a_tenant(queue: JobQueue) -> None:
    for uid in (FLEET, OTHER_FLEET):
        await queue.publish_policy(policy(uid))
    first = (await queue.submit(new_job(idempotency_key="k", body_digest="b"))).job
    with pytest.raises(IdempotencyConflict):
        await queue.submit(new_job(OTHER_FLEET, idempotency_key="k", body_digest="names the other fleet"))
    again = await queue.submit(new_job(OTHER_FLEET, idempotency_key="k", body_digest="b"))  # another alias by now
    assert (again.job.id, again.created) == (first.id, False)
    await queue.cancel(first.id, ErrorCode.CANCELLED_BY_USER)
    await queue.remove(first.id)
    anew = await queue.submit(new_job(OTHER_FLEET, idempotency_key="k", body_digest="b"))
    assert (anew.job.fleet_uid, anew.created) == (OTHER_FLEET, True)
    assert not (await queue.submit(new_job(OTHER_FLEET, idempotency_key="k", body_digest="b"))).created


async def test_a_key_whose_request_was_refused_is_free_again(queue: JobQueue) -> None:
    await queue.publish_policy(policy(FLEET, max_depth=0))
    with pytest.raises(QueueFull):
        await queue.submit(new_job(idempotency_key="k", body_digest="b"))
    await queue.publish_policy(policy(FLEET))
    assert (await queue.submit(new_job(idempotency_key="k", body_digest="another"))).created


async def test_submitting_the_very_same_job_again_is_no_second_job(fleet: JobQueue) -> None:
    job = new_job()
    assert (await fleet.submit(job)).created
    assert not (await fleet.submit(job)).created
    assert (await fleet.stats(FLEET)).waiting == 1


async def test_a_finished_job_can_be_removed_and_no_other(fleet: JobQueue) -> None:
    job_id = (await fleet.submit(new_job())).job.id
    with pytest.raises(JobNotFinished):
        await fleet.remove(job_id)
    await fleet.cancel(job_id, ErrorCode.CANCELLED_BY_USER)
    assert (await fleet.remove(job_id)).id == job_id
    for call in (fleet.get(job_id), fleet.remove(job_id), fleet.cancel(job_id, ErrorCode.CANCELLED_BY_USER)):
        with pytest.raises(JobNotFound):
            await call
    with pytest.raises(JobNotFound):
        await fleet.get("video_../../etc/passwd")


async def test_pages_run_over_fleets_by_time_and_show_one_tenant_only(queue: JobQueue) -> None:
    for uid in (FLEET, OTHER_FLEET):
        await queue.publish_policy(policy(uid))
    created = []
    for index in range(7):
        job = new_job((FLEET, OTHER_FLEET)[index % 2])
        created.append((await queue.submit(job)).job.id)
        await asyncio.sleep(0.002)  # ids sort by millisecond
    await queue.submit(new_job(tenant="ads"))
    fleets = [FLEET, OTHER_FLEET]
    first = await queue.page(fleets, "studio", after=None, limit=3, newest_first=True)
    rest = await queue.page(fleets, "studio", after=first[-1].id, limit=99, newest_first=True)
    assert [job.id for job in first + rest] == created[::-1]
    oldest = await queue.page(fleets, "studio", after=created[1], limit=2, newest_first=False)
    assert [job.id for job in oldest] == created[2:4]


async def test_stats_and_beacons(fleet: JobQueue) -> None:
    await fleet.submit(new_job())
    await fleet.submit(new_job())
    await claim(fleet)
    stats = await fleet.stats(FLEET)
    assert (stats.waiting, stats.running) == (1, 1)
    await fleet.put_beacon(FLEET, WorkerBeacon(worker="w2", revision="r1", state=WorkerState.READY))
    await fleet.put_beacon(FLEET, WorkerBeacon(worker="w1", revision="r1", state=WorkerState.WARMING))
    assert [beacon.worker for beacon in await fleet.beacons(FLEET)] == ["w1", "w2"]
    assert all(beacon.at_ms > 0 for beacon in await fleet.beacons(FLEET))
    await fleet.drop_beacon(FLEET, "w2")
    assert [beacon.worker for beacon in await fleet.beacons(FLEET)] == ["w1"]


async def test_fields_of_a_newer_version_survive(fleet: JobQueue) -> None:
    job = new_job()
    newer = VideoRequest.model_validate(job.request.model_dump() | {"fromTheFuture": {"x": 1}})
    await fleet.submit(job.model_copy(update={"request": newer}))
    assert (await claim(fleet)).job.request.model_dump()["fromTheFuture"] == {"x": 1}


async def test_a_dead_redis_is_unavailable_and_nothing_acknowledged_is_lost(redis_server, installation: str) -> None:
    async with JobQueue.connect(redis_server.url, installation) as queue:
        await queue.publish_policy(policy())
        accepted = [(await queue.submit(new_job())).job.id for _ in range(50)]
        redis_server.kill()
        began = time.monotonic()
        with pytest.raises(QueueUnavailable):
            await queue.submit(new_job())
        assert time.monotonic() - began < 5, "at once, on a busy machine"
        redis_server.start()
        assert [(await claim(queue)).job.id for _ in accepted] == accepted


async def test_a_redis_that_forgets_is_refused(queue: JobQueue) -> None:
    await queue.check_durability()
    from videofleet.queue import durability

    for info, remedy in (
        ({"aof_enabled": 0, "maxmemory_policy": "noeviction"}, "appendonly yes"),
        ({"aof_enabled": 1, "maxmemory_policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
    ):
        with pytest.raises(QueueError, match=remedy):
            durability.check(info, durability.Durability.AOF)
