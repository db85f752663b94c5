"""Golden prompts on a real Redis: the canary's alone, nobody's account, and nothing left of them."""

from typing import Any

from videofleet.jobs import ClipLook, ErrorCode, VideoRequest
from videofleet.policy import CanaryRule, Track

Fleet = Any  # the fixture's class lives in conftest.py


async def ask(fleet: Fleet, count: int = 2, revision: str = "r2") -> int:
    requests = [VideoRequest(prompt=f"golden {n}", seed=n, tier=fleet.full, allow_fallback=False) for n in range(count)]
    return int(await fleet.queue.golden.ask(fleet.uid, revision, requests))


async def figures(fleet: Fleet) -> tuple[str, int, int, int, int]:
    known = (await fleet.queue.stats(fleet.uid)).golden
    return known.revision, known.asked, known.succeeded, known.failed, known.rejected


async def test_only_the_canary_makes_them_and_only_once(ruled: Fleet) -> None:
    assert await ask(ruled) == 0, "nobody is on trial"
    await ruled.publish_canary(0)
    assert await ask(ruled) == 2
    assert await ask(ruled) == 2
    assert not (await ruled.ask("r1")).claims
    for _ in range(2):
        claim = await ruled.claim("r2")
        assert claim.job.tenant == ".golden"
        await ruled.succeed(claim)
    assert not (await ruled.ask("r2")).claims
    assert await figures(ruled) == ("r2", 2, 2, 0, 0)


async def test_nothing_of_a_user_is_counted_and_nothing_stays(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ask(ruled)
    stats = await ruled.queue.stats(ruled.uid)
    assert (stats.waiting_cost_s, stats.arrived_s_total) == (0, 0), "scaling is not to see them as work"
    first, second = await ruled.claim("r2"), await ruled.claim("r2")
    await ruled.succeed(first)
    await ruled.queue.fail(second, ErrorCode.GENERATION_FAILED, "broke", retry=True)
    assert await figures(ruled) == ("r2", 2, 1, 1, 0), "it has one attempt"
    assert await ruled.queue.outcomes(ruled.uid) == []
    assert (await ruled.queue.stats(ruled.uid)).waiting == 0
    assert not await ruled.redis.exists(f"{ruled.prefix}:job:{first.job.id}", f"{ruled.prefix}:job:{second.job.id}")
    owed = await ruled.queue.leaving.owed(ruled.uid)
    assert len(owed) == 2, "their files are to go"


async def test_a_refused_clip_is_told(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ask(ruled, 1)
    await ruled.succeed(await ruled.claim("r2"), rejected=("black",))
    assert await figures(ruled) == ("r2", 1, 1, 0, 1)


async def test_a_lost_worker_fails_it_and_stable_never_gets_it(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ask(ruled, 1)
    await ruled.lease_ends(await ruled.claim("r2"))
    assert not (await ruled.ask("r1")).claims
    assert await figures(ruled) == ("r2", 1, 0, 1, 0)


async def test_an_ended_trial_takes_them_along_and_another_begins_anew(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ask(ruled, 3)
    running = await ruled.claim("r2")
    await ruled.publish(tracks={"r1": Track.STABLE})
    assert not (await ruled.ask("r1")).claims
    await ruled.succeed(running)
    assert (await ruled.queue.stats(ruled.uid)).waiting == 0
    await ruled.publish_canary(0)
    assert await ask(ruled, 1) == 1


async def test_how_they_look_is_kept_while_a_track_has_the_revision(ruled: Fleet) -> None:
    await ruled.publish_canary(0)
    await ask(ruled, 1)
    look = ClipLook(brightness=100.5, contrast=50, detail=9, motion=4.25, colour=30)
    await ruled.succeed(await ruled.claim("r2"), look=look)
    assert (await ruled.queue.stats(ruled.uid)).golden.looks == {"r2": {1: look}}
    await ruled.publish(tracks={"r2": Track.STABLE})
    await ruled.publish(
        tracks={"r2": Track.STABLE, "r3": Track.CANARY}, canary=CanaryRule(revision="r3", weight_permille=0)
    )
    assert await ask(ruled, 1, "r3") == 1
    assert set((await ruled.queue.stats(ruled.uid)).golden.looks) == {"r2"}, "stable's, to compare with"
    await ruled.publish(tracks={"r3": Track.STABLE})
    await ruled.publish(
        tracks={"r3": Track.STABLE, "r4": Track.CANARY}, canary=CanaryRule(revision="r4", weight_permille=0)
    )
    await ask(ruled, 1, "r4")
    assert (await ruled.queue.stats(ruled.uid)).golden.looks == {}
