"""Who goes first: priorities, batch that waited too long, and tenants' equal service seconds, by simulated claims.

A job's time is told by moving its start back in Redis, so a second here costs nothing.
"""

import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from specimens import FLEET, new_job, policy, result

from videofleet.jobs import Claim, ErrorCode, JobState, Priority, VideoRequest
from videofleet.queue import JobQueue
from videofleet.tiers import Tier

BIG = Tier(name="720p", width=1280, height=720, num_frames=81, num_inference_steps=40, fps=16)
SMALL = Tier(name="preview", width=512, height=256, num_frames=33, num_inference_steps=20, fps=16)
TOOK_S = {"720p": 600.0, "preview": 10.0}


class World:
    """One fleet whose workers take as long as the test says."""

    def __init__(self, queue: JobQueue, redis: Redis, installation: str) -> None:
        self.queue, self.redis = queue, redis
        self.prefix = f"vf:{{{installation}/{FLEET}}}"
        self.served_s: dict[str, float] = {}

    async def publish(self, **changes: object) -> None:
        await self.queue.publish_policy(policy(**{"tiers": [BIG, SMALL]} | changes))

    async def submit(self, tenant: str, tier: Tier = SMALL, priority: Priority = Priority.STANDARD) -> str:
        return (await self.queue.submit(new_job(tenant=tenant, tier=tier, priority=priority))).job.id

    async def claim(self) -> Claim:
        (claim,) = (await self.queue.claim(FLEET, worker="w1", revision="r1")).claims
        return claim

    async def passes(self, claim: Claim, seconds: float) -> None:
        """The attempt began so much earlier."""
        began_ms = int(time.time() * 1000 - seconds * 1000)
        await self.redis.hset(f"{self.prefix}:job:{claim.job.id}", mapping={"started_at_ms": began_ms})

    async def run_one(self) -> Claim:
        claim = await self.claim()
        tier, tenant = claim.job.request.tier, claim.job.tenant
        await self.passes(claim, TOOK_S[tier.name])
        self.served_s[tenant] = self.served_s.get(tenant, 0) + TOOK_S[tier.name]
        await self.queue.succeed(claim, result(claim.attempt, tier=tier))
        return claim


def jain(shares: list[float]) -> float:
    """Jain's index: 1 when all are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@pytest.fixture
async def world(queue: JobQueue, redis_url: str, installation: str) -> AsyncIterator[World]:
    world = World(queue, Redis.from_url(redis_url, decode_responses=True), installation)
    await world.publish()
    yield world
    await world.redis.aclose()


async def test_priorities_go_in_their_order(world: World) -> None:
    for priority in (Priority.BATCH, Priority.STANDARD, Priority.INTERACTIVE):
        for _ in range(2):
            await world.submit("studio", priority=priority)
    seen = [(await world.run_one()).job.priority for _ in range(6)]
    assert seen == [priority for priority in Priority for _ in range(2)]


async def test_batch_that_waited_too_long_goes_first(world: World) -> None:
    await world.publish(batch_max_wait_s=60)
    old = await world.submit("studio", priority=Priority.BATCH)
    new = await world.submit("studio", priority=Priority.BATCH)
    urgent = await world.submit("studio", priority=Priority.INTERACTIVE)
    await world.redis.hset(f"{world.prefix}:job:{old}", mapping={"queued_at_ms": int(time.time() * 1000) - 61_000})
    assert [(await world.run_one()).job.id for _ in range(3)] == [old, urgent, new]


@pytest.mark.parametrize("priority", list(Priority))
async def test_a_flood_of_a_hundred_to_one_takes_no_more_than_its_share(world: World, priority: Priority) -> None:
    for _ in range(600):
        await world.submit("flooder", BIG, priority)
    for index in range(6):
        await world.submit("modest", BIG, priority)
        await world.submit("steady", BIG, priority)
        if index == 2:  # halfway, with 600 waiting, newcomers are next at once
            assert {(await world.run_one()).job.tenant for _ in range(3)} == {"flooder", "modest", "steady"}
    while await still_waits(world, ("modest", "steady")):
        await world.run_one()
    assert jain(list(world.served_s.values())) >= 0.95


async def still_waits(world: World, tenants: tuple[str, ...]) -> bool:
    lanes = [await world.redis.zcard(f"{world.prefix}:lane:stable:{p}:{t}") for t in tenants for p in Priority]
    return any(lanes)


async def test_shares_are_seconds_and_not_jobs(world: World) -> None:
    for _ in range(20):
        await world.submit("films", BIG)
    for _ in range(1200):
        await world.submit("drafts", SMALL)
    for _ in range(300):
        await world.run_one()
    assert jain(list(world.served_s.values())) >= 0.95


async def test_what_a_job_really_took_counts_and_also_when_it_failed(world: World) -> None:
    for _ in range(4):
        await world.submit("slow")
        await world.submit("quick")
    first = await world.claim()
    assert first.job.tenant in ("slow", "quick")
    await world.passes(first, 100)
    await world.queue.fail(first, ErrorCode.NOT_FINITE, "NaN", retry=False)
    other = "quick" if first.job.tenant == "slow" else "slow"
    assert [(await world.run_one()).job.tenant for _ in range(4)] == [other] * 4


async def test_weights_divide_the_seconds(world: World) -> None:
    await world.publish(weights={"studio": 3})
    for _ in range(200):
        await world.submit("studio")
        await world.submit("ads")
    for _ in range(200):
        await world.run_one()
    assert world.served_s["studio"] / world.served_s["ads"] == pytest.approx(3, rel=0.1)


async def test_being_away_earns_no_credit(world: World) -> None:
    for _ in range(50):
        await world.submit("busy")
    for _ in range(40):
        await world.run_one()
    for _ in range(10):
        await world.submit("back")
    world.served_s.clear()
    for _ in range(10):
        await world.run_one()
    assert world.served_s["busy"] == pytest.approx(world.served_s["back"], rel=0.3)


async def test_endings_are_counted_by_revision_and_tier(world: World) -> None:
    for tier in (BIG, BIG, SMALL):
        await world.submit("studio", tier)
    for _ in range(2):
        await world.run_one()
    await world.queue.fail(await world.claim(), ErrorCode.NOT_FINITE, "NaN", retry=False)
    waiting = await world.submit("studio", SMALL)
    await world.queue.cancel(waiting, ErrorCode.CANCELLED_BY_USER)
    rows = {(row.revision, row.tier): row for row in await world.queue.outcomes(FLEET)}
    assert (rows["r1", "720p"].succeeded, rows["r1", "720p"].steps, rows["r1", "720p"].step_s) == (2, 2, 1.0)
    assert (rows["r1", "preview"].failed, rows["r1", "preview"].succeeded) == (1, 0)
    assert rows["", "preview"].cancelled == 1


async def test_a_job_nobody_began_by_its_deadline_fails(world: World) -> None:
    job_id = await world.submit("studio")
    await world.redis.hset(f"{world.prefix}:job:{job_id}", mapping={"deadline_ms": 1})
    await world.redis.zadd(f"{world.prefix}:deadlines", {job_id: 1})
    assert not (await world.queue.claim(FLEET, worker="w1", revision="r1")).claims
    job = await world.queue.get(job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, ErrorCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize(
    ("request_text", "says"),
    [("\x00garbage", "cannot be read"), ("{}", "cannot be read"), ("[" * 5000, "cannot be read"), (None, "version 9")],
)
async def test_an_unreadable_payload_is_parked_and_the_rest_goes_on(
    world: World, request_text: str | None, says: str
) -> None:
    newer = VideoRequest(v=9, prompt="x", seed=1, tier=SMALL).to_json()
    bad, good = await world.submit("studio"), await world.submit("studio")
    await world.redis.hset(f"{world.prefix}:requests", mapping={bad: request_text or newer})
    assert (await world.claim()).job.id == good
    parked = await world.queue.get(bad)
    assert (parked.state, parked.error_code) == (JobState.DEAD, ErrorCode.PAYLOAD_UNKNOWN)
    assert says in (parked.error_message or "")
    assert [job.id for job in await world.queue.dead(FLEET, "studio")] == [bad]
    page = await world.queue.page([FLEET], "studio", after=None, limit=10, newest_first=False)
    assert {job.id for job in page} == {bad, good}
    await world.queue.remove(bad)
    assert await world.queue.dead(FLEET, "studio") == []


async def test_the_place_in_line_counts_priorities_and_other_tenants_turns(world: World) -> None:
    for _ in range(5):
        await world.submit("flooder")
    mine = await world.submit("modest")
    assert await world.queue.ahead(mine) == 1
    second = await world.submit("modest")
    assert await world.queue.ahead(second) == 3
    await world.submit("flooder", priority=Priority.INTERACTIVE)
    assert await world.queue.ahead(mine) == 2
    before = []
    while (claim := await world.run_one()).job.id != mine:
        before.append(claim.job.id)
    assert len(before) == 2
    assert await world.queue.ahead(mine) is None
