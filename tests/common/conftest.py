"""One fleet on a real Redis, as the tests of the queue see it."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from specimens import FLEET, policy, result

from videofleet import ids
from videofleet.jobs import Claim, JobState, NewJob, Priority, VideoRequest
from videofleet.policy import CanaryRule, FallbackRule, StickyBy, Track
from videofleet.queue import Claimed, JobQueue, TenantLimits
from videofleet.tiers import Tier

FULL = Tier(name="720p", width=1280, height=720, num_frames=81, num_inference_steps=40, fps=16)
PREVIEW = Tier(name="preview", width=512, height=256, num_frames=33, num_inference_steps=20, fps=16)


class Ruled:
    """A fleet whose policy has canary, fallback and marks. `r1` is stable, `r2` the canary."""

    uid, full, preview = FLEET, FULL, PREVIEW

    def __init__(self, queue: JobQueue, redis: Redis, installation: str) -> None:
        self.queue, self.redis, self.installation = queue, redis, installation
        self.prefix = f"vf:{{{installation}/{FLEET}}}"

    async def publish(self, **changes: object) -> None:
        """A policy of two tiers and a stable revision, with changes."""
        await self.queue.publish_policy(policy(**{"fleet": "studio/ruled", "tiers": [FULL, PREVIEW]} | changes))

    async def publish_canary(
        self, permille: int, sticky_by: StickyBy = StickyBy.NONE, *, revision: str = "r2", **changes: object
    ) -> None:
        """With a canary of this weight."""
        rule = CanaryRule(revision=revision, weight_permille=permille, sticky_by=sticky_by)
        await self.publish(tracks={"r1": Track.STABLE, revision: Track.CANARY}, canary=rule, **changes)

    async def publish_fallback(self, permille: int, *priorities: Priority, **changes: object) -> None:
        """With this share of the jobs lowered to the preview."""
        chosen = list(priorities or Priority)
        rule = FallbackRule(tier="preview", share_permille=permille, priorities=chosen, cause="long_wait")
        await self.publish(fallback=rule, **changes)

    async def submit(self, tenant: str = "studio", limits: TenantLimits | None = None, **changes: Any) -> str:
        """Queues a job; `tier`, `guidance_scale` and `allow_fallback` are the request's. Returns: its id."""
        wishes = {name: changes.pop(name) for name in ("tier", "guidance_scale", "allow_fallback") if name in changes}
        request = VideoRequest.model_validate({"prompt": "a red car", "seed": 1, "tier": FULL} | wishes)
        job_id = ids.job_id(FLEET, time.time_ns() // 1_000_000, os.urandom(10))
        new = NewJob(id=job_id, fleet_uid=FLEET, tenant=tenant, request=request, **changes)
        return (await self.queue.submit(new, limits)).job.id

    async def ask(
        self, revision: str = "r1", *, worker: str = "w1", most: int = 1, beside: Sequence[Claim] = ()
    ) -> Claimed:
        """What a worker gets that makes up to `most` jobs together."""
        batches = {tier.volume: most for tier in (FULL, PREVIEW)}
        return await self.queue.claim(FLEET, worker=worker, revision=revision, batches=batches, beside=beside)

    async def claim(self, revision: str = "r1") -> Claim:
        """The one job that a worker gets."""
        (claim,) = (await self.ask(revision)).claims
        return claim

    async def drain(self, revision: str) -> list[str]:
        """Claims all that this revision is given. Returns: ids."""
        found: list[str] = []
        while claims := (await self.ask(revision)).claims:
            found += [claim.job.id for claim in claims]
        return found

    async def succeed(self, claim: Claim, seconds_per_step: float = 0.5, **told: Any) -> JobState:
        """The worker delivers, and tells."""
        made = result(
            claim.attempt,
            tier=claim.tier,
            fallback=claim.fallback,
            revision=claim.job.revision or "",
            seconds_per_step=seconds_per_step,
            **told,
        )
        return await self.queue.succeed(claim, made)

    async def passes(self, claim: Claim, seconds: float) -> None:
        """The attempt began so much earlier."""
        began_ms = int(time.time() * 1000 - seconds * 1000)
        await self.redis.hset(f"{self.prefix}:job:{claim.job.id}", mapping={"started_at_ms": began_ms})

    async def lease_ends(self, claim: Claim) -> None:
        """Its worker is gone."""
        await self.redis.zadd(f"{self.prefix}:running", {claim.job.id: 1}, xx=True)
        assert await self.queue.reap(FLEET) == [claim.job.id]

    async def ids_in(self, name: str) -> set[str]:
        """Members of one of the fleet's sorted sets."""
        return set(await self.redis.zrange(f"{self.prefix}:{name}", 0, -1))


@pytest.fixture
async def ruled(queue: JobQueue, redis_url: str, installation: str) -> AsyncIterator[Ruled]:
    """A fleet with a stable revision and no other rule."""
    ruled = Ruled(queue, Redis.from_url(redis_url, decode_responses=True), installation)
    await ruled.publish()
    yield ruled
    await ruled.redis.aclose()
