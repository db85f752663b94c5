"""Feedback: counted once a video, by its latest word, for the revision that made it; and never by a stranger."""

import asyncio
from typing import Any

import aiohttp

from videofleet.feedback import Feedback, Label
from videofleet.queue import JobQueue

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"


async def finished(gateway: Any, http: aiohttp.ClientSession, work: Any, tier: str = "small") -> str:
    async with http.post("/v1/videos", json={"prompt": "a car", "model": "studio/tiny", "tier": tier}) as response:
        job = await work(gateway, (await response.json())["id"])
    return str(job.id)


async def say(http: aiohttp.ClientSession, job: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with http.post(f"/v1/videos/{job}/feedback", json=body) as response:
        return response.status, await response.json()


async def test_ratings_are_counted_by_revision_and_the_latest_word_holds(own_gateway: Any, work: Any) -> None:
    own_gateway.start()
    async with (
        own_gateway.session("rich") as http,
        JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue,
    ):
        assert await queue.opinions.of(FLEET) == []
        one, two, small = [await finished(own_gateway, http, work, tier) for tier in ("small", "small", "preview")]
        status, told = await say(http, one, rating=5)
        assert (status, told) == (200, {"id": one, "object": "video.feedback", "rating": 5, "label": None})
        await say(http, one, rating="2", label="flicker")
        await asyncio.gather(*(say(http, two, rating=4, label="good") for _ in range(20)))
        await say(http, small, rating=1, label="off_prompt")
        async with http.delete(f"/v1/videos/{small}") as response:
            assert response.status == 200
        small_row, both = sorted(await queue.opinions.of(FLEET), key=lambda row: row.tier)
        assert both == Feedback(
            revision="r1",
            tier="small",
            ratings=2,
            rating_sum=6,
            liked=1,
            disliked=1,
            labels={Label.FLICKER: 1, Label.GOOD: 1},
        )
        assert both.mean_rating == 3
        assert small_row == Feedback(
            revision="r1", tier="preview", ratings=1, rating_sum=1, disliked=1, labels={Label.OFF_PROMPT: 1}
        )


async def test_what_is_refused(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    job = await finished(gateway, http, work)
    for body, param in (
        ({}, "rating"),
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": True}, "rating"),
        ({"rating": 3, "label": "meh"}, "label"),
        ({"rating": 3, "comment": "x"}, "comment"),
    ):
        status, told = await say(http, job, **body)
        assert (status, told["error"]["param"]) == (422, param)
    async with gateway.session("rich") as stranger:
        assert (await say(stranger, job, rating=1))[0] == 404
    async with http.post("/v1/videos", json={"prompt": "a car"}) as response:
        waiting = (await response.json())["id"]
    status, told = await say(http, waiting, rating=5)
    assert (status, told["error"]["code"]) == (409, "video_not_completed")
