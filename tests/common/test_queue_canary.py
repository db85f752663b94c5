"""Canary admission on a real Redis: exact shares, one line a track, and what ends a canary."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import ErrorCode, JobState, Priority
from videofleet.policy import CanaryRule, StickyBy, Track

Fleet = Any  # the fixture's class lives in conftest.py


async def admitted(fleet: Fleet) -> int:
    return int((await fleet.queue.stats(fleet.uid)).canary_waiting)


@pytest.mark.parametrize(("permille", "jobs", "expected"), [(1, 2000, 2), (10, 250, 2), (250, 10, 2), (1000, 5, 5)])
async def test_the_canary_gets_its_share_of_jobs(ruled: Fleet, permille: int, jobs: int, expected: int) -> None:
    await ruled.publish_canary(permille)
    for _ in range(jobs):
        await ruled.submit()
    assert await admitted(ruled) == expected
    assert len(await ruled.drain("r2")) == expected
    assert len(await ruled.drain("r1")) == jobs - expected


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 25)), min_size=1, max_size=4))
async def test_the_share_is_exact_to_one_job_over_every_change_of_weight(
    ruled: Fleet, steps: list[tuple[int, int]]
) -> None:
    await ruled.publish()
    await ruled.drain("r1")
    due = 0.0
    for permille, jobs in steps:
        await ruled.publish_canary(permille)
        for _ in range(jobs):
            await ruled.submit()
            due += permille / 1000
            assert abs(await admitted(ruled) - due) < 1 + 1e-6


async def test_sticky_tenants_keep_their_track_and_more_weight_only_adds_some(ruled: Fleet) -> None:
    tenants = [f"tenant-{n}" for n in range(60)]
    chosen = set[str]()
    for permille in (200, 500, 1000):
        await ruled.publish_canary(permille, StickyBy.TENANT)
        for _ in range(2):
            for tenant in tenants:
                await ruled.submit(tenant)
        seen = [(await ruled.queue.get(job_id)).tenant for job_id in await ruled.drain("r2")]
        assert all(seen.count(tenant) == 2 for tenant in seen)
        assert chosen <= set(seen)
        chosen = set(seen)
        assert abs(len(chosen) - permille * 60 / 1000) < 12
        await ruled.drain("r1")


async def test_priorities_and_tenants_turns_hold_inside_each_line(ruled: Fleet) -> None:
    await ruled.publish_canary(500)
    for priority in (Priority.BATCH, Priority.INTERACTIVE):
        for tenant in ("a", "a", "b", "b"):  # every second one is the canary's
            await ruled.submit(tenant, priority=priority)
    for revision in ("r1", "r2"):
        jobs = [await ruled.queue.get(job_id) for job_id in await ruled.drain(revision)]
        assert [job.priority for job in jobs] == [Priority.INTERACTIVE] * 2 + [Priority.BATCH] * 2
        assert {job.tenant for job in jobs[:2]} == {"a", "b"}


async def test_neither_track_takes_the_others_jobs(ruled: Fleet) -> None:
    await ruled.publish_canary(1000)
    await ruled.submit()
    assert not (await ruled.ask("r1")).claims
    await ruled.publish_canary(0)
    await ruled.submit()
    assert len(await ruled.drain("r2")) == 1
    assert len(await ruled.drain("r1")) == 1


async def test_a_revoked_canarys_jobs_go_back_to_their_places(ruled: Fleet) -> None:
    await ruled.publish_canary(500)
    submitted = [await ruled.submit() for _ in range(8)]
    await ruled.publish()
    assert await ruled.drain("r2") == []
    assert await ruled.drain("r1") == submitted


async def test_a_promoted_canary_serves_all_that_waits(ruled: Fleet) -> None:
    await ruled.publish_canary(500)
    submitted = [await ruled.submit() for _ in range(4)]
    await ruled.publish(tracks={"r2": Track.STABLE})
    assert await ruled.drain("r1") == []
    assert await ruled.drain("r2") == submitted


async def test_another_canary_begins_with_an_empty_line(ruled: Fleet) -> None:
    await ruled.publish_canary(1000)
    await ruled.submit()
    await ruled.publish_canary(0, revision="r3")
    assert await ruled.drain("r3") == []
    assert len(await ruled.drain("r1")) == 1


async def test_nothing_waits_for_a_canary_whose_policy_nobody_renews(ruled: Fleet) -> None:
    await ruled.publish_canary(1000, valid_until_ms=int(time.time() * 1000) + 3_600_000)
    first = await ruled.submit()
    await ruled.publish_canary(1000, valid_until_ms=int(time.time() * 1000) - 1)
    second = await ruled.submit()
    assert await ruled.drain("r1") == [first, second]


async def test_a_canary_that_fails_in_a_row_is_given_up(ruled: Fleet) -> None:
    await ruled.publish_canary(1000)
    for _ in range(6):
        await ruled.submit()
    await ruled.succeed(await ruled.claim("r2"))
    for _ in range(2):
        await ruled.queue.fail(await ruled.claim("r2"), ErrorCode.GENERATION_FAILED, "it raised", retry=True)
    assert (await ruled.queue.stats(ruled.uid)).canary_given_up is None
    await ruled.lease_ends(await ruled.claim("r2"))
    stats = await ruled.queue.stats(ruled.uid)
    assert (stats.canary_given_up, stats.canary_waiting, stats.waiting) == ("r2", 0, 5)
    await ruled.submit()
    await ruled.publish_canary(1000)
    await ruled.submit()
    assert await ruled.drain("r2") == [], "publishing it again does not bring it back"
    await ruled.publish()
    await ruled.publish_canary(1000)
    await ruled.submit()
    assert len(await ruled.drain("r2")) == 1, "a retry of the rollout does"


async def test_a_success_in_between_and_the_stables_failures_do_not_count(ruled: Fleet) -> None:
    await ruled.publish_canary(500)
    for _ in range(12):
        await ruled.submit()
    for n in range(6):
        canary, stable = await ruled.claim("r2"), await ruled.claim("r1")
        await ruled.queue.fail(stable, ErrorCode.GENERATION_FAILED, "it raised", retry=False)
        if n % 3 == 2:
            await ruled.succeed(canary)
        else:
            await ruled.queue.fail(canary, ErrorCode.GENERATION_FAILED, "it raised", retry=False)
    assert (await ruled.queue.stats(ruled.uid)).canary_given_up is None


async def test_a_canarys_job_is_retried_by_stable_workers_but_drained_to_the_canary(
    ruled: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videofleet.queue.client.RETRY_MS", 0)
    await ruled.publish_canary(1000)
    job_id = await ruled.submit()
    await ruled.queue.give_back(await ruled.claim("r2"))
    assert not (await ruled.ask("r1")).claims, "its checkpoint is the canary's"
    claim = await ruled.claim("r2")
    assert await ruled.queue.fail(claim, ErrorCode.GENERATION_FAILED, "it raised", retry=True) is JobState.QUEUED
    assert await ruled.drain("r2") == []
    assert await ruled.drain("r1") == [job_id]


async def test_attempts_are_counted_for_the_revision_that_made_them(
    ruled: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videofleet.queue.client.RETRY_MS", 0)
    await ruled.publish_canary(1000)
    for _ in range(4):
        await ruled.submit()
    first = await ruled.claim("r2")
    await ruled.passes(first, 40)
    await ruled.queue.fail(first, ErrorCode.NOT_FINITE, "NaN", retry=True)
    await ruled.lease_ends(await ruled.claim("r2"))
    await ruled.queue.give_back(await ruled.claim("r2"))
    await ruled.succeed(await ruled.claim("r2"))
    for _ in range(2):
        await ruled.succeed(await ruled.claim("r1"))
    rows = {row.revision: row for row in await ruled.queue.outcomes(ruled.uid)}
    canary, stable = rows["r2"], rows["r1"]
    assert (canary.attempts, canary.attempt_failures, canary.rejected, canary.succeeded) == (3, 2, 1, 1)
    assert (stable.attempts, stable.attempt_failures, stable.succeeded) == (2, 0, 2)
    assert canary.worker_s == pytest.approx(40, abs=2)


async def test_jobs_of_both_tracks_are_paced_by_the_thresholds_of_the_canary(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ruled.submit()
    await ruled.succeed(await ruled.claim("r1"), 9.0)  # nobody has said yet what slow is
    await ruled.publish_canary(1000)
    for _ in range(2):
        await ruled.submit()
    rule = CanaryRule(revision="r2", weight_permille=0, slow_above_s={ruled.full.name: 1.0})
    await ruled.publish(tracks={"r1": Track.STABLE, "r2": Track.CANARY}, canary=rule)
    await ruled.submit()
    for revision, seconds_per_step in (("r2", 1.5), ("r2", 1.0), ("r1", 0.5)):
        await ruled.succeed(await ruled.claim(revision), seconds_per_step)
    rows = {row.revision: (row.paced, row.slow, row.steps) for row in await ruled.queue.outcomes(ruled.uid)}
    assert rows == {"r1": (1, 0, 2), "r2": (2, 1, 2)}


async def test_jobs_that_shared_a_batch_are_paced_by_their_own_threshold(ruled: Fleet) -> None:
    """Else a canary, whose few jobs run alone, would look slow beside a stable whose batches share the time."""
    limits = {"slow_above_s": {ruled.full.name: 1.0}, "slow_together_above_s": {ruled.full.name: 0.5}}
    rule = CanaryRule(revision="r2", weight_permille=0, **limits)
    await ruled.publish(tracks={"r1": Track.STABLE, "r2": Track.CANARY}, canary=rule)
    for _ in range(3):
        await ruled.submit()
    pair = (await ruled.ask("r1", most=2)).claims
    for claim, seconds_per_step in zip(pair, (0.4, 0.6), strict=True):
        await ruled.succeed(claim, seconds_per_step)
    await ruled.succeed(await ruled.claim("r1"), 0.9)
    (row,) = await ruled.queue.outcomes(ruled.uid)
    assert (row.steps, row.alone, row.alone_s, row.pass_s, row.paced, row.slow) == (3, 1, 0.9, 2 * (0.4 + 0.6), 3, 1)


async def test_jobs_of_both_tracks_are_weighed_where_their_memory_is_known(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ruled.submit()
    await ruled.succeed(await ruled.claim("r1"), peak_bytes=10)
    rule = CanaryRule(revision="r2", weight_permille=1000, memory_above_bytes={ruled.full.name: 11.0})
    await ruled.publish(tracks={"r1": Track.STABLE, "r2": Track.CANARY}, canary=rule)
    for told in ({"peak_bytes": 12}, {"peak_bytes": 11}, {}):
        await ruled.submit()
        await ruled.succeed(await ruled.claim("r2"), **told)
    rows = await ruled.queue.outcomes(ruled.uid)
    counted = {row.revision: (row.measured, row.memory_bytes, row.weighed, row.hungry) for row in rows}
    assert counted == {"r1": (1, 10, 0, 0), "r2": (2, 23, 2, 1)}


async def test_a_worker_that_broke_and_is_warm_again_is_a_recovery(ruled: Fleet) -> None:
    async def says(state: WorkerState, worker: str = "w") -> None:
        beacon = WorkerBeacon(worker=worker, revision="r2", state=state)
        await ruled.queue.put_beacon(ruled.uid, beacon)

    async def recoveries() -> list[tuple[int, int, int]]:
        rows = await ruled.queue.outcomes(ruled.uid)
        return [(row.recoveries, row.timed_recoveries, row.slow_recoveries) for row in rows]

    for state in (WorkerState.LOADING, WorkerState.WARMING, WorkerState.READY):
        await says(state)
    assert await recoveries() == [], "its first start"
    for state in (WorkerState.DRAINING, WorkerState.READY):
        await says(state)
    assert await recoveries() == [], "a mark that lapsed"
    for state in (WorkerState.LOADING, WorkerState.WARMING, WorkerState.READY, WorkerState.READY):
        await says(state)
    assert await recoveries() == [(1, 0, 0)]
    rule = CanaryRule(revision="r2", weight_permille=0, recovery_above_s=60)
    await ruled.publish(tracks={"r1": Track.STABLE, "r2": Track.CANARY}, canary=rule)
    for before_s in (10, 100):
        await says(WorkerState.FAILED)
        seen_ms = int(time.time() * 1000 - before_s * 1000)
        await ruled.redis.hset(f"{ruled.prefix}:broken", "w", seen_ms)
        await says(WorkerState.READY)
    assert await recoveries() == [(3, 2, 1)]
    (row,) = await ruled.queue.outcomes(ruled.uid)
    assert row.recovery_s == pytest.approx(110, abs=5)


async def test_a_worker_that_never_comes_back_leaves_nothing(ruled: Fleet) -> None:
    for state in (WorkerState.READY, WorkerState.FAILED):
        await ruled.queue.put_beacon(ruled.uid, WorkerBeacon(worker="w", revision="r2", state=state))
    assert await ruled.redis.exists(f"{ruled.prefix}:broken")
    await ruled.queue.drop_beacon(ruled.uid, "w")
    await ruled.queue.beacons(ruled.uid)
    assert not await ruled.redis.exists(f"{ruled.prefix}:broken")


async def test_jobs_that_fail_in_a_row_are_counted_once_each(ruled: Fleet) -> None:
    async def failing() -> dict[str, int]:
        return dict((await ruled.queue.stats(ruled.uid)).failing)

    async def fails() -> None:
        await ruled.queue.fail(await ruled.claim("r1"), ErrorCode.GENERATION_FAILED, "broke", retry=False)

    for _ in range(3):
        await ruled.submit()
    await fails()
    await fails()
    assert await failing() == {"r1": 2}
    await ruled.succeed(await ruled.claim("r1"))
    assert await failing() == {}
    await ruled.submit()
    for _ in range(3):
        await ruled.lease_ends(await ruled.claim("r1"))
    assert await failing() == {"r1": 1}, "one poisonous job is one failure"
    await ruled.publish(tracks={"r2": Track.STABLE})
    await ruled.publish(tracks={"r1": Track.STABLE})
    assert await failing() == {}, "who comes back begins anew"
