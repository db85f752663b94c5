"""Server-sent events of a job: its whole life, resumption, what a crowd costs, and what an outage looks like."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from videofleet.beacons import TierTiming, WorkerBeacon, WorkerState
from videofleet.jobs import ErrorCode, Job, JobState, Progress, QueueStats, VideoRequest
from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet_gateway.events.eta import eta_s

Event = tuple[str, str, dict[str, Any]]


async def blocks(response: aiohttp.ClientResponse) -> AsyncIterator[list[str]]:
    """The stream's blocks, as lines; comments too."""
    block: list[str] = []
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            block.append(line)
        else:
            yield block
            block = []


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    async for block in blocks(response):
        fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
        if "event" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])


async def created(http: aiohttp.ClientSession) -> str:
    async with http.post("/v1/videos", json={"prompt": "a red car drives"}) as response:
        return str((await response.json())["id"])


async def metric(gateway: Any, name: str) -> float:
    async with aiohttp.ClientSession(gateway.health_url) as http, http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))


async def until(gateway: Any, name: str, value: float) -> None:
    async with asyncio.timeout(60):
        while await metric(gateway, name) != value:  # noqa: ASYNC110 - it lives in another process
            await asyncio.sleep(0.05)


async def claim_of(queue: JobQueue, job_id: str) -> Any:
    job = await queue.get(job_id)
    while True:
        (claim,) = (await queue.claim(job.fleet_uid, worker="w", revision="r1")).claims
        if claim.job.id == job_id:
            return claim


async def test_a_jobs_whole_life(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = await created(http)
    async with (
        JobQueue.connect(gateway.redis_url, gateway.installation) as queue,
        http.get(f"/v1/videos/{job_id}/events") as response,
    ):
        assert (response.status, response.content_type) == (200, "text/event-stream")
        stream = events(response)
        name, _, data = await anext(stream)
        assert (name, data["status"], "prompt" in data) == ("queued", "queued", False)
        assert data["position"] >= 1
        claim = await claim_of(queue, job_id)
        seen = []
        for step in (1, 2, 4):
            await queue.beat(claim, Progress(stage="denoising", step=step, steps=4))
            async for name, _, data in stream:
                if name == "progress" and data["step"] == step:
                    seen.append((data["stage"], data["steps"], data["progress"]))
                    break
        assert seen == [("denoising", 4, 26), ("denoising", 4, 47), ("denoising", 4, 90)]
        await queue.fail(claim, ErrorCode.NOT_FINITE, "NaN", retry=False)
        rest = [(name, data["status"]) async for name, _, data in stream]
        assert rest == [("done", "failed")]


async def test_a_resumed_stream_tells_only_news(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    job_id = await created(http)
    path = f"/v1/videos/{job_id}/events"
    async with http.get(path) as response:
        _, last_id, _ = await anext(events(response))
    async with http.get(path, headers={"Last-Event-ID": last_id}) as response:
        await work(gateway, job_id)
        heard = [name async for name, event_id, _ in events(response) if event_id != last_id]
    assert heard[-1] == "done"
    async with http.get(path) as response:
        ((name, last_id, video),) = [event async for event in events(response)]
        assert (name, video["status"], video["progress"]) == ("done", "completed", 100)
    async with http.get(path, headers={"Last-Event-ID": last_id}) as response:
        assert response.status == 204, "an EventSource stops at 204"


async def test_a_deleted_record_ends_the_stream(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = await created(http)
    async with http.get(f"/v1/videos/{job_id}/events") as response:
        stream = events(response)
        await anext(stream)
        for _ in range(2):
            async with http.delete(f"/v1/videos/{job_id}"):
                pass
        names = [name async for name, _, _ in stream]
    assert names[-1] in ("done", "deleted")


async def test_strangers_hear_nothing(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = await created(http)
    async with gateway.session("rich") as rich, rich.get(f"/v1/videos/{job_id}/events") as response:
        assert response.status == 404


async def test_a_hundred_listeners_cost_one_poller(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = await created(http)
    await until(gateway, "videofleet_gateway_event_listeners", 0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(gateway.url, headers=dict(http.headers), connector=connector) as crowd:
        replies: list[aiohttp.ClientResponse] = []
        for _ in range(10):
            replies += await asyncio.gather(*(crowd.get(f"/v1/videos/{job_id}/events") for _ in range(10)))
        assert {reply.status for reply in replies} == {200}
        assert await metric(gateway, "videofleet_gateway_event_listeners") == 100
        assert await metric(gateway, "videofleet_gateway_event_pollers") == 1
        for reply in replies:
            reply.close()
    await until(gateway, "videofleet_gateway_event_pollers", 0)
    await until(gateway, "videofleet_gateway_event_listeners", 0)


async def test_an_outage_is_silence_with_a_pulse(own_gateway: Any, redis_server: Any) -> None:
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        job_id = await created(http)
        async with http.get(f"/v1/videos/{job_id}/events") as response:
            stream = blocks(response)
            assert await anext(stream) == ["retry: 1000"]
            assert (await anext(stream))[0] == "event: queued"
            redis_server.kill()
            assert await anext(stream) == [": still here"]
            redis_server.start()
            async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
                await queue.cancel(job_id, ErrorCode.CANCELLED_BY_USER)
            assert (await anext(stream))[0] == "event: done"


async def test_a_draining_gateway_ends_its_streams(own_gateway: Any) -> None:
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        job_id = await created(http)
        async with http.get(f"/v1/videos/{job_id}/events") as response:
            stream = events(response)
            await anext(stream)
            assert await asyncio.to_thread(own_gateway.stop) == 0
            assert [name async for name, _, _ in stream] == []


TIER = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=10, fps=16)
BIG = TIER.model_copy(update={"name": "big", "num_inference_steps": 20})


def beacon(state: WorkerState = WorkerState.READY) -> WorkerBeacon:
    timings = [TierTiming(tier=name, runs=2, seconds_per_step=1, decode_s=2, encode_s=1) for name in ("small", "big")]
    return WorkerBeacon(worker="w", revision="r", state=state, warmed=tuple(timings))


@pytest.mark.parametrize(
    ("progress", "ahead", "running", "workers", "expected"),
    [
        (Progress(stage="denoising", step=4, steps=10), None, 1, [beacon()], 9.0),  # 6 steps and the tail
        (None, 0, 0, [beacon()], 13.0),  # a free worker: its own length
        (None, 0, 1, [beacon()], 36.0),  # behind one of unknown length: the slowest tier's 23 s
        (None, 3, 1, [beacon(), beacon()], 59.0),  # two rounds of two workers
        (None, 0, 1, [beacon(), beacon()], 13.0),  # one of two workers is free
        (None, 0, 0, [beacon(WorkerState.WARMING)], None),  # nobody knows when it will be warm
        (None, 0, 0, [], None),
    ],
)
def test_an_eta_is_told_when_it_is_known(
    progress: Progress | None, ahead: int | None, running: int, workers: list[WorkerBeacon], expected: float | None
) -> None:
    state = JobState.RUNNING if progress else JobState.QUEUED
    request = VideoRequest(prompt="x", seed=1, tier=TIER)
    job = Job(id="j", fleet_uid="f", tenant="t", state=state, request=request, created_at_ms=0, progress=progress)
    stats = QueueStats(waiting=0, running=running, oldest_wait_s=0)
    assert eta_s(job, ahead, stats, workers, [TIER, BIG]) == expected
