"""Dead letters, priorities and deadlines over real HTTP."""

import time
from typing import Any

import aiohttp
import pytest

from videofleet.jobs import ErrorCode, Priority
from videofleet.queue import JobQueue
from videofleet.queue import client as client_module


async def create(http: aiohttp.ClientSession, **fields: Any) -> str:
    async with http.post("/v1/videos", json={"prompt": "a car"} | fields) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["id"])


@pytest.fixture
async def queue(gateway: Any) -> Any:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        yield queue


async def test_a_dead_video_is_listed_replayed_and_made(
    gateway: Any, http: aiohttp.ClientSession, queue: JobQueue, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY_MS", 0)
    job_id = await create(http, priority="interactive")
    fleet_uid = (await queue.get(job_id)).fleet_uid
    while (await queue.get(job_id)).state != "dead":
        (claim,) = (await queue.claim(fleet_uid, worker="w", revision="r1")).claims
        if claim.job.id == job_id:
            await queue.fail(claim, ErrorCode.GENERATION_FAILED, "the pipeline raised", retry=True)
    async with http.get("/v1/dead") as response:
        listed = (await response.json())["data"]
    assert [(video["id"], video["error"]["code"]) for video in listed] == [(job_id, "attempts_exhausted")]
    async with http.post(f"/v1/videos/{job_id}/replay") as response:
        assert (response.status, (await response.json())["status"]) == (202, "queued")
    async with http.post(f"/v1/videos/{job_id}/replay") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (409, "video_not_dead")
    assert (await work(gateway, job_id)).attempt == 4, "files are named by attempt: it counts on"
    async with http.get("/v1/dead") as response:
        assert (await response.json())["data"] == []


async def test_a_stranger_neither_sees_nor_replays(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = await create(http)
    async with gateway.session("rich") as stranger:
        async with stranger.post(f"/v1/videos/{job_id}/replay") as response:
            assert response.status == 404
        async with stranger.get("/v1/dead") as response:
            assert job_id not in [video["id"] for video in (await response.json())["data"]]


async def test_priority_and_deadline_reach_the_queue(http: aiohttp.ClientSession, queue: JobQueue) -> None:
    job = await queue.get(await create(http, priority="batch", deadline="600"))
    assert job.priority is Priority.BATCH
    assert job.deadline_ms is not None
    assert abs(job.deadline_ms - (time.time() + 600) * 1000) < 60_000
    job = await queue.get(await create(http))
    assert (job.priority, job.deadline_ms) == (Priority.STANDARD, None)


@pytest.mark.parametrize(
    ("deadline", "says"), [("2020-01-01T00:00:00Z", "has passed"), ("9999999", "30 days"), (0, "has passed")]
)
async def test_a_deadline_that_cannot_be_met_is_refused(
    http: aiohttp.ClientSession, deadline: object, says: str
) -> None:
    async with http.post("/v1/videos", json={"prompt": "a car", "deadline": deadline}) as response:
        body = await response.json()
    assert (response.status, body["error"]["param"]) == (422, "deadline")
    assert says in body["detail"]
