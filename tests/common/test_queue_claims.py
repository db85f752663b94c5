"""What a claim hands out: the tier, nothing to marked workers, several jobs of one batch; and the queue's figures."""

import time
from typing import Any

import pytest

from videofleet.jobs import Priority

Fleet = Any  # the fixture's class lives in conftest.py


def soon_ms(seconds: float = 3600) -> int:
    return int((time.time() + seconds) * 1000)


async def test_a_marked_worker_gets_no_job_until_its_mark_lapses(ruled: Fleet) -> None:
    await ruled.submit()
    await ruled.publish(marks={"w1": soon_ms()})
    marked = await ruled.ask(worker="w1")
    assert (marked.claims, marked.is_marked) == ([], True)
    assert not (await ruled.ask("gone", worker="w2")).is_marked
    assert (await ruled.ask("gone", worker="w1")).is_marked, "also of a revision that serves no more"
    await ruled.publish(marks={"w1": soon_ms(-1)})
    lapsed = await ruled.ask(worker="w1")
    assert (len(lapsed.claims), lapsed.is_marked) == (1, False)


async def test_marks_and_fallback_are_void_once_nobody_renews_the_policy(ruled: Fleet) -> None:
    await ruled.publish_fallback(1000, marks={"w1": soon_ms()}, valid_until_ms=soon_ms(-1))
    await ruled.submit()
    claim = await ruled.claim()
    assert (claim.tier, claim.fallback) == (ruled.full, None)


@pytest.mark.parametrize(
    ("permille", "jobs", "lowered"), [(0, 5, 0), (1, 1000, 1), (333, 9, 2), (500, 9, 4), (1000, 3, 3)]
)
async def test_the_share_of_lowered_jobs_is_exact(ruled: Fleet, permille: int, jobs: int, lowered: int) -> None:
    await ruled.publish_fallback(permille)
    for _ in range(jobs):
        await ruled.submit()
    tiers = [(await ruled.claim()).tier.name for _ in range(jobs)]
    assert tiers.count("preview") == lowered
    assert set(tiers) <= {"720p", "preview"}


async def test_only_jobs_that_may_be_lowered_count_in_the_share(ruled: Fleet) -> None:
    await ruled.publish_fallback(500, Priority.BATCH)
    for _ in range(2):
        await ruled.submit(priority=Priority.BATCH)
        await ruled.submit(priority=Priority.BATCH, allow_fallback=False)
        await ruled.submit(priority=Priority.BATCH, tier=ruled.preview)
        await ruled.submit(priority=Priority.INTERACTIVE)
    claims = [await ruled.claim() for _ in range(8)]
    (lowered,) = [claim for claim in claims if claim.fallback]
    assert (lowered.tier, lowered.fallback) == (ruled.preview, "long_wait")
    assert lowered.job.request.tier == ruled.full
    asked_low = [claim for claim in claims if claim.job.request.tier == ruled.preview]
    assert all(claim.tier == ruled.preview and claim.fallback is None for claim in asked_low)


async def test_the_record_and_the_result_tell_what_was_delivered_and_why(ruled: Fleet) -> None:
    await ruled.publish_fallback(1000)
    job_id = await ruled.submit()
    claim = await ruled.claim()
    running = await ruled.queue.get(job_id)
    assert (running.tier, running.fallback) == (ruled.preview, "long_wait")
    await ruled.succeed(claim)
    done = (await ruled.queue.get(job_id)).result
    assert (done.tier, done.fallback) == (ruled.preview, "long_wait")
    (row,) = await ruled.queue.outcomes(ruled.uid)
    assert (row.tier, row.succeeded) == ("preview", 1), "its seconds per step are those of the tier it was made in"


async def test_a_later_attempt_keeps_the_tier_of_the_first(ruled: Fleet) -> None:
    await ruled.submit()
    await ruled.queue.give_back(await ruled.claim())
    await ruled.publish_fallback(1000)
    claim = await ruled.claim()
    assert claim.tier == ruled.full
    await ruled.queue.give_back(claim)
    await ruled.submit()
    assert (await ruled.claim()).tier == ruled.full
    assert (await ruled.claim()).tier == ruled.preview


async def test_a_worker_gets_several_jobs_that_can_share_a_batch(ruled: Fleet) -> None:
    alike = [await ruled.submit() for _ in range(3)]
    await ruled.submit(guidance_scale=3.0)
    await ruled.submit(tier=ruled.preview)
    await ruled.submit(tier=ruled.preview, priority=Priority.BATCH)
    batch = (await ruled.ask(most=4)).claims
    assert [claim.job.id for claim in batch] == alike
    assert len({claim.token for claim in batch}) == 3
    await ruled.succeed(batch[0])
    await ruled.queue.give_back(batch[1])
    assert (await ruled.queue.get(alike[1])).attempt == 1
    assert [claim.job.id for claim in (await ruled.ask(most=4)).claims] == [alike[1]]
    assert [len((await ruled.ask(most=4)).claims) for _ in range(4)] == [1, 1, 1, 0]


async def test_a_job_that_was_tried_before_is_made_alone(ruled: Fleet) -> None:
    tried = await ruled.submit()
    await ruled.queue.give_back(await ruled.claim())
    others = [await ruled.submit() for _ in range(2)]
    assert [claim.job.id for claim in (await ruled.ask(most=4)).claims] == [tried]
    assert [claim.job.id for claim in (await ruled.ask(most=4)).claims] == others


async def test_jobs_that_come_a_moment_later_join_the_batch(ruled: Fleet) -> None:
    first = [await ruled.submit()]
    batch = (await ruled.ask(most=3)).claims
    later = [await ruled.submit() for _ in range(3)]
    more = (await ruled.ask(most=3, beside=batch)).claims
    assert ([claim.job.id for claim in batch], [claim.job.id for claim in more]) == (first, later[:2])
    assert (await ruled.ask(most=3, beside=batch + more)).claims == []
    for claim in batch + more:
        await ruled.passes(claim, 60)
        await ruled.succeed(claim)
    (row,) = await ruled.queue.outcomes(ruled.uid)
    assert row.worker_s == pytest.approx(60, abs=2), "they share the time"


async def test_only_sizes_that_gain_share_a_batch(ruled: Fleet) -> None:
    for tier in (ruled.full, ruled.full, ruled.preview, ruled.preview):
        await ruled.submit(tier=tier)
    batches = {ruled.preview.volume: 2}
    sizes = []
    for _ in range(3):
        claimed = await ruled.queue.claim(ruled.uid, worker="w1", revision="r1", batches=batches)
        sizes.append(len(claimed.claims))
    assert sizes == [1, 1, 2]


async def test_a_lowered_job_shares_a_batch_with_one_that_asked_for_that_tier(ruled: Fleet) -> None:
    await ruled.publish_fallback(1000)
    await ruled.submit()
    await ruled.submit(tier=ruled.preview)
    batch = (await ruled.ask(most=2)).claims
    assert [claim.tier.name for claim in batch] == ["preview", "preview"]


@pytest.mark.parametrize(("tenants", "sizes"), [(None, [4]), (["a", "b"], [2, 2])])
async def test_tenants_share_a_batch_only_where_everybody_may_submit(
    ruled: Fleet, tenants: list[str] | None, sizes: list[int]
) -> None:
    await ruled.publish(tenants=tenants)
    for tenant in ("a", "b", "a", "b"):
        await ruled.submit(tenant)
    batches = [(await ruled.ask(most=4)).claims for _ in sizes]
    assert [len(batch) for batch in batches] == sizes
    if tenants:
        assert all(len({claim.job.tenant for claim in batch}) == 1 for batch in batches)


async def test_jobs_of_one_batch_share_its_seconds(ruled: Fleet) -> None:
    for _ in range(2):
        await ruled.submit()
    batch = (await ruled.ask(most=2)).claims
    for claim in batch:
        await ruled.passes(claim, 60)
        await ruled.succeed(claim)
    (row,) = await ruled.queue.outcomes(ruled.uid)
    assert row.worker_s == pytest.approx(60, abs=2)


async def test_figures_are_service_seconds_at_the_tiers_asked_for(ruled: Fleet) -> None:
    await ruled.submit()
    first = await ruled.claim()
    await ruled.passes(first, 600)
    await ruled.succeed(first)  # a 720p video takes 600 s
    arrived_s = (await ruled.queue.stats(ruled.uid)).arrived_s_total
    await ruled.publish_fallback(1000)
    for priority in (Priority.INTERACTIVE, Priority.BATCH, Priority.BATCH):
        await ruled.submit(priority=priority)
    running = await ruled.claim()
    assert running.tier == ruled.preview
    stats = await ruled.queue.stats(ruled.uid)
    assert stats.waiting_cost_s == pytest.approx(1200, abs=5)
    assert stats.running_remaining_s == pytest.approx(600, abs=60)
    assert stats.arrived_s_total - arrived_s == pytest.approx(1800, abs=5)
    assert {name: row.jobs for name, row in stats.by_priority.items()} == {"interactive": 0, "standard": 0, "batch": 2}
    assert stats.by_priority[Priority.BATCH].cost_s == pytest.approx(1200, abs=5)
    oldest = await ruled.redis.zrange(f"{ruled.prefix}:lane:stable:batch:studio", 0, 0)
    await ruled.redis.hset(f"{ruled.prefix}:job:{oldest[0]}", mapping={"queued_at_ms": soon_ms(-90)})
    assert (await ruled.queue.stats(ruled.uid)).by_priority[Priority.BATCH].oldest_wait_s == pytest.approx(90, abs=5)
