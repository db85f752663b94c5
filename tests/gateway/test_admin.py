"""Keys with the role admin: they pause a fleet's intake and erase any tenant; and the log says who did it."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from videofleet.queue import JobQueue, keys

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
ASKED = {"prompt": "zirkonium sails past a lighthouse", "model": "studio/tiny"}


@pytest.fixture
def governed(own_gateway: Any) -> Any:
    """A gateway where `idler`, who may use no fleet, is admin."""
    own_gateway.roles["idler"] = "admin"
    own_gateway.write_keys()
    own_gateway.start()
    return own_gateway


async def post(http: aiohttp.ClientSession, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with http.post(path, json=body) as response:
        return response.status, await response.json() | {"retry": response.headers.get("Retry-After")}


def audit(gateway: Any) -> list[tuple[str, ...]]:
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    return [
        (line["actor"], line["tenant"], line["act"], line["target"], line["outcome"])
        for line in lines
        if line["message"] == "audit" and line["request"].startswith("req_")
    ]


async def test_a_paused_fleet_takes_nothing_new_and_finishes_what_it_has(governed: Any, work: Any) -> None:
    async with governed.session("rich") as http, governed.session("idler") as admin:
        waiting = (await post(http, "/v1/videos", **ASKED))[1]["id"]
        status, told = await post(admin, "/v1/intake/pause", model="studio/tiny")
        assert (status, told["model"], told["paused"]) == (200, "studio/tiny", True)
        status, told = await post(http, "/v1/videos", **ASKED)
        assert (status, told["error"]["code"], told["retry"]) == (503, "intake_paused", "60")
        assert (await post(http, "/v1/videos", **ASKED | {"model": "ads/tiny"}))[0] == 202
        async with http.get("/v1/models") as response:
            intake = {model["id"]: model["intake"] for model in (await response.json())["data"]}
        assert (intake["studio/tiny"], intake["ads/tiny"]) == ("paused", "open")
        await work(governed, waiting)
        async with http.get(f"/v1/videos/{waiting}") as response:
            assert (await response.json())["status"] == "completed"
    governed.stop()
    governed.start()
    async with governed.session("rich") as http, governed.session("idler") as admin:
        assert (await post(http, "/v1/videos", **ASKED))[0] == 503, "a pause outlives a restart"
        assert (await post(admin, "/v1/intake/pause", model="studio/tiny"))[0] == 200
        assert (await post(admin, "/v1/intake/resume", model="studio/tiny"))[0] == 200
        assert (await post(http, "/v1/videos", **ASKED))[0] == 202
    assert audit(governed) == [
        ("idlerk", "idler", "intake.pause", "studio/tiny", "done"),
        ("idlerk", "idler", "intake.pause", "studio/tiny", "unchanged"),
        ("idlerk", "idler", "intake.resume", "studio/tiny", "done"),
    ]


async def test_the_lines_of_a_batch_wait_out_a_pause(governed: Any, work: Any) -> None:
    """The batch finds a full queue; once there is room, its fleet is paused."""
    async with (
        governed.session("rich") as http,
        governed.session("idler") as admin,
        JobQueue.connect(governed.redis_url, governed.installation) as queue,
        Redis.from_url(governed.redis_url, decode_responses=True) as redis,
    ):
        policy = await queue.policy(FLEET)
        assert policy is not None
        await queue.publish_policy(policy.model_copy(update={"max_depth": 2}))
        jobs = [(await post(http, "/v1/videos", **ASKED))[1]["id"] for _ in range(2)]
        line = json.dumps({"body": ASKED})
        async with http.post("/v1/batches", data=line, headers={"Content-Type": "application/jsonl"}) as response:
            assert response.status == 202, await response.text()
        assert (await post(admin, "/v1/intake/pause", model="studio/tiny"))[0] == 200
        for job in jobs:
            await work(governed, job)
        looks: set[str] = set()
        async with asyncio.timeout(60):
            while len(looks) < 4:  # each look of a feeder moves the time of the next
                looks.add(str(await redis.zrange(keys.open_batches(governed.installation), 0, -1, withscores=True)))
                await asyncio.sleep(0.05)
        assert (await queue.stats(FLEET)).waiting == 0
        assert (await post(admin, "/v1/intake/resume", model="studio/tiny"))[0] == 200
        async with asyncio.timeout(60):
            while (await queue.stats(FLEET)).waiting == 0:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)


async def test_other_replicas_hear_of_a_pause_within_seconds(governed: Any, tmp_path: Any) -> None:
    other = type(governed)(
        governed.redis_url, tmp_path / "other", governed.installation, extra_arguments=("--drain-delay=0",)
    )
    other.keys = governed.keys
    other.write_keys()
    other.start()
    try:
        async with other.session("rich") as http, governed.session("idler") as admin:
            assert (await post(http, "/v1/videos", **ASKED))[0] == 202
            assert (await post(admin, "/v1/intake/pause", model="studio/tiny"))[0] == 200
            deadline = time.monotonic() + 30
            while (await post(http, "/v1/videos", **ASKED))[0] != 503:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
    finally:
        assert other.stop() == 0


async def test_only_an_admin_may_and_refusals_are_told(governed: Any, work: Any) -> None:
    async with governed.session("rich") as http, governed.session("idler") as admin:
        for path, body in (
            ("/v1/intake/pause", {"model": "studio/tiny"}),
            ("/v1/intake/resume", {"model": "studio/tiny"}),
            ("/v1/erase", {"tenant": "loner1"}),
        ):
            status, told = await post(http, path, **body)
            assert (status, told["error"]["code"]) == (403, "forbidden")
        for body, expected in (({"model": "a/b"}, 404), ({}, 422), ({"model": "Ä"}, 422), ({"fleet": "a/b"}, 422)):
            assert (await post(admin, "/v1/intake/pause", **body))[0] == expected
        job = await work(governed, (await post(http, "/v1/videos", **ASKED))[1]["id"])
        async with admin.get(f"/v1/videos/{job.id}") as response:
            assert response.status == 404, "an admin acts on tenants, and does not read their videos"
        status, told = await post(admin, "/v1/erase", tenant="rich")
        assert (status, told["videos"], told["files"]) == (200, 1, "deleted")
        second = (await post(http, "/v1/videos", **ASKED))[1]["id"]
        async with http.delete(f"/v1/videos/{second}", params={"purge": "true"}) as response:
            assert response.status == 200
    assert audit(governed) == [
        ("richk", "rich", "intake.pause", "studio/tiny", "refused"),
        ("richk", "rich", "intake.resume", "studio/tiny", "refused"),
        ("richk", "rich", "tenant.erase", "loner1", "refused"),
        ("idlerk", "idler", "tenant.erase", "rich", "done"),
        ("richk", "rich", "video.purge", second, "done"),
    ]
    assert "zirkonium" not in governed.log()
