"""The same request twice: one video is made, both have it; and everything that must not be mixed up is not."""

import time
from typing import Any

import aiohttp
import pytest

from videofleet.jobs import Priority, VideoRequest
from videofleet.policy import CacheScope, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet_gateway.reuse import digest

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
ASKED: dict[str, Any] = {"prompt": "a red car at night", "model": "studio/tiny", "seed": 7}
TIER = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
REQUEST = VideoRequest(prompt="a red car", negative_prompt="blur", seed=7, guidance_scale=4, tier=TIER)


async def publish(gateway: Any, **changes: Any) -> None:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        policy = await queue.policy(FLEET)
        assert policy is not None
        await queue.publish_policy(policy.model_copy(update=changes))


async def create(http: aiohttp.ClientSession, headers: Any = None, **fields: Any) -> dict[str, Any]:
    async with http.post("/v1/videos", json=ASKED | fields, headers=headers) as response:
        assert response.status in (200, 202), await response.text()
        return dict(await response.json())


async def content(http: aiohttp.ClientSession, job: str, variant: str = "video") -> bytes | int:
    async with http.get(f"/v1/videos/{job}/content", params={"variant": variant}) as response:
        return await response.read() if response.status == 200 else response.status


@pytest.fixture
async def thrifty(own_gateway: Any) -> Any:
    """A gateway whose fleet reuses a tenant's own videos."""
    await publish(own_gateway, cache=CacheScope.TENANT)
    own_gateway.start()
    return own_gateway


async def test_a_repeated_request_is_answered_at_once_and_says_so(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http:
        first = await create(http)
        assert (first["status"], first["cached"]) == ("queued", False)
        await work(thrifty, first["id"])
        async with http.get("/v1/usage") as response:
            worker_seconds = (await response.json())["worker_seconds"]
        again = await create(http, prompt="a  red car\nat night ")
        assert again["id"] != first["id"]
        assert (again["status"], again["progress"], again["cached"], again["attempt"]) == ("completed", 100, True, 0)
        for variant in ("video", "thumbnail", "spritesheet"):
            assert await content(http, again["id"], variant) == await content(http, first["id"], variant)
        async with http.get(f"/v1/videos/{again['id']}/events") as response:
            assert "event: done" in await response.text()
        async with http.get("/v1/usage") as response:
            usage = await response.json()
        assert (usage["jobs"]["completed"], usage["worker_seconds"]) == (2, worker_seconds)
        async with http.delete(f"/v1/videos/{first['id']}") as response:
            assert response.status == 200
        assert isinstance(await content(http, again["id"]), bytes), "a copy is not the original"
        async with JobQueue.connect(thrifty.redis_url, thrifty.installation) as queue:
            arrived_s = (await queue.stats(FLEET)).arrived_s_total
            assert (await create(http))["cached"], "the copy answers too"
            assert (await queue.stats(FLEET)).arrived_s_total == pytest.approx(arrived_s), "it is no work to scale for"
        async with aiohttp.ClientSession(thrifty.health_url) as anybody, anybody.get("/metrics") as response:
            assert 'videofleet_gateway_cache_total{outcome="hit"} 2.0' in await response.text()


async def test_a_rush_of_equals_does_not_push_the_first_one_out(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http:
        first = await create(http)
        assert not any([(await create(http))["cached"] for _ in range(6)])
        await work(thrifty, first["id"])
        assert (await create(http))["cached"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": None},
        {"seed": 8},
        {"cache": False},
        {"tier": "preview"},
        {"prompt": "A red car at night"},
        {"negative_prompt": "blur"},
        {"guidance_scale": 4},
    ],
    ids=str,
)
async def test_what_is_not_the_same_is_made(thrifty: Any, work: Any, change: dict[str, Any]) -> None:
    async with thrifty.session("loner1") as http:
        await work(thrifty, (await create(http))["id"])
        assert (await create(http, **change))["status"] == "queued"


async def test_other_tenants_have_no_part_in_it_unless_the_fleet_says_so(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http, thrifty.session("loner2") as other:
        await work(thrifty, (await create(http))["id"])
        assert not (await create(other))["cached"]
    thrifty.stop()
    await publish(thrifty, cache=CacheScope.FLEET)
    thrifty.start()
    async with thrifty.session("loner3") as http, thrifty.session("loner4") as other:
        await work(thrifty, (await create(http, seed=9))["id"])
        assert (await create(other, seed=9))["cached"]


async def test_only_the_stable_revision_and_the_delivered_tier_count(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http:
        job = await work(thrifty, (await create(http))["id"])
        await publish(thrifty, tracks={"r1": Track.CANARY, "r2": Track.STABLE})
        deadline = time.monotonic() + 30
        while (await create(http))["cached"]:
            assert time.monotonic() < deadline
        assert job.result.revision == "r1"


async def test_erased_and_lost_videos_answer_nobody(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http:
        job = await work(thrifty, (await create(http))["id"])
        (stored,) = (thrifty.folder / "store").rglob(f"{job.id}/1/video.mp4")
        stored.unlink()
        assert not (await create(http))["cached"], "its file is lost"
        other = await work(thrifty, (await create(http, seed=8))["id"])
        async with http.delete(f"/v1/videos/{other.id}", params={"purge": "true"}) as response:
            assert response.status == 200
        assert not (await create(http, seed=8))["cached"]


async def test_an_idempotency_key_names_the_first_job(thrifty: Any, work: Any) -> None:
    async with thrifty.session("loner1") as http:
        first = await create(http, headers={"Idempotency-Key": "once"})
        await work(thrifty, first["id"])
        again = await create(http, headers={"Idempotency-Key": "once"})
        assert (again["id"], again["status"], again["cached"]) == (first["id"], "completed", False)


async def test_a_copy_that_no_job_takes_over_goes_by_itself(own_gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a crash between copying and the job's end."""
    monkeypatch.setattr("videofleet.queue.cache.AGAIN_MS", 0)
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        owed = await queue.cache.owe(FLEET, "videos", "out/video_x/0")
        assert await queue.leaving.owed(FLEET) == [owed]


def test_the_digest_holds_everything_that_changes_pixels() -> None:
    same = [
        {"prompt": " a red  car"},
        {"output_prefix": "elsewhere"},
        {"tier": TIER.model_copy(update={"name": "renamed"})},
    ]
    for change in same:
        assert digest(REQUEST.model_copy(update=change)) == digest(REQUEST)
    other = [
        {"prompt": "a blue car"},
        {"negative_prompt": ""},
        {"seed": 8},
        {"guidance_scale": None},
        {"guidance_scale_2": 3.0},
        {"tier": TIER.model_copy(update={"num_inference_steps": 5})},
        {"tier": TIER.model_copy(update={"fps": 24})},
        {"a_field_of_tomorrow": Priority.BATCH},
    ]
    digests = {digest(VideoRequest.model_validate(REQUEST.model_dump() | change)) for change in other}
    assert len(digests | {digest(REQUEST)}) == len(other) + 1
