"""What leaves leaves whole, expired, purged or erased: record, prompt, checkpoints, files, whoever dies meanwhile."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from videofleet import ids
from videofleet.jobs import ErrorCode, Progress
from videofleet.queue import JobQueue, LeaseLost, Owed
from videofleet.queue import leaving as leaving_module
from videofleet.store import ObjectStore, StoreError
from videofleet_gateway.files import Files
from videofleet_gateway.metrics import Metrics

PROMPT = "zirkonium sails past a lighthouse"
FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
FLEET_NAME = "studio/tiny"


async def eventually(holds: Callable[[], Awaitable[Any]], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def submit(http: aiohttp.ClientSession, **fields: Any) -> str:
    async with http.post("/v1/videos", json={"prompt": PROMPT, "model": FLEET_NAME} | fields) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["id"])


async def status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as response:
        return response.status


async def publish_retention(gateway: Any, retention_s: int | None) -> None:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        policy = await queue.policy(FLEET)
        assert policy is not None
        await queue.publish_policy(policy.model_copy(update={"retention_s": retention_s, "closed": None}))


def files_of(gateway: Any, job: str) -> list[Path]:
    """Walks, because globbing raises where a folder vanishes under it."""
    found = [Path(folder, name) for folder, _, names in os.walk(gateway.folder / "store") for name in names]
    return [path for path in found if job in path.parts]


async def everything_in_redis(gateway: Any) -> str:
    """Every key and value, except the operator's policy, sums, and what ends by itself in minutes."""
    said = []
    async with Redis.from_url(gateway.redis_url, decode_responses=True) as redis:
        async for key in redis.scan_iter(match=f"vf:*{gateway.installation}*", count=1000):
            if key.endswith((":leaving", ":policy", ":reserved")) or ":usage:" in key:
                continue
            kind = await redis.type(key)
            values: Any = {
                "string": redis.get,
                "hash": redis.hgetall,
                "zset": lambda name: redis.zrange(name, 0, -1),
                "set": redis.smembers,
            }[kind](key)
            said.append(f"{key} {await values}")
    return "\n".join(said)


async def test_a_finished_video_tells_its_expiry_and_goes_with_its_files(own_gateway: Any, work: Any) -> None:
    await publish_retention(own_gateway, 3600)
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        job = await work(own_gateway, await submit(http))
        async with http.get(f"/v1/videos/{job.id}") as response:
            shown = await response.json()
        assert shown["expires_at"] == (job.finished_at_ms + 3_600_000) // 1000
        await publish_retention(own_gateway, 7200)

        async def tells_the_new_rule() -> bool:  # to somebody who asks for nothing but this video
            async with http.get(f"/v1/videos/{job.id}") as response:
                return bool((await response.json())["expires_at"] == (job.finished_at_ms + 7_200_000) // 1000)

        await eventually(tells_the_new_rule)
        waiting = await submit(http)
        async with http.get(f"/v1/videos/{waiting}") as response:
            assert (await response.json())["expires_at"] is None
        assert files_of(own_gateway, job.id)
        await publish_retention(own_gateway, 1)

        async def has_expired() -> bool:
            return await status(http, f"/v1/videos/{job.id}") == 404

        await eventually(has_expired)
        assert await status(http, f"/v1/videos/{job.id}/content") == 404

        async def has_no_files() -> bool:
            return not files_of(own_gateway, job.id)

        await eventually(has_no_files)
        assert not list((own_gateway.folder / "store").rglob(job.id)), "an empty folder stayed"
        assert await status(http, f"/v1/videos/{waiting}") == 200
    assert job.id not in await everything_in_redis(own_gateway)


async def test_a_deleted_fleet_follows_the_last_of_its_jobs(own_gateway: Any) -> None:
    await publish_retention(own_gateway, 3600)
    own_gateway.start()
    async with (
        own_gateway.session("rich") as http,
        JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as q,
    ):
        job = await submit(http)
        await q.close_fleet(FLEET, ErrorCode.FLEET_DELETED)
        async with http.get(f"/v1/videos/{job}") as response:
            assert (await response.json())["error"]["code"] == "fleet_deleted"
        await publish_retention(own_gateway, 1)
        async with Redis.from_url(own_gateway.redis_url) as redis:
            await redis.hset(f"vf:{{{own_gateway.installation}/{FLEET}}}:totals", "closed_at_ms", 1)  # long ago

        async def has_left() -> bool:
            return FLEET not in await q.fleets()

        await eventually(has_left)
        assert await status(http, f"/v1/videos/{job}") == 404
        async with http.post("/v1/videos", json={"prompt": PROMPT, "model": FLEET_NAME}) as response:
            assert response.status == 404, await response.text()
    async with Redis.from_url(own_gateway.redis_url, decode_responses=True) as redis:
        found = [
            key async for key in redis.scan_iter(match=f"vf:*{FLEET}*", count=1000) if own_gateway.installation in key
        ]
        assert [key.rpartition(":")[2] for key in found] == ["closed"]


@pytest.mark.parametrize("died_after", ["record", "claim", "files"])
async def test_a_gateway_that_dies_between_record_and_files(
    own_gateway: Any, work: Any, monkeypatch: pytest.MonkeyPatch, died_after: str
) -> None:
    """Each step is done here and no further, as by a replica that was killed; another one finishes."""
    monkeypatch.setattr(leaving_module, "PAUSE_MS", 50)
    monkeypatch.setattr(leaving_module, "AGAIN_MS", 50)
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        job = await work(own_gateway, await submit(http))
    own_gateway.process.kill()
    own_gateway.process.wait()
    await publish_retention(own_gateway, 1)
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:

        async def expired() -> list[str]:
            return await queue.leaving.expire(FLEET)

        await eventually(expired)
        assert files_of(own_gateway, job.id), "the record went, and a file nobody owes"
        if died_after != "record":
            (owed,) = await queue.leaving.owed(FLEET)
            assert owed.folder == f"out/{job.id}"
        if died_after == "files":
            await own_gateway.store.remove_folder(f"out/{job.id}")
        own_gateway.start()

        async def is_settled() -> bool:
            return not files_of(own_gateway, job.id) and f"1 videos out/{job.id}" not in await leaving_of(own_gateway)

        await eventually(is_settled)


async def leaving_of(gateway: Any) -> list[str]:
    async with Redis.from_url(gateway.redis_url, decode_responses=True) as redis:
        key = f"vf:{{{gateway.installation}/{FLEET}}}:leaving"
        return list(await redis.zrange(key, 0, -1))


async def test_purging_a_running_job_takes_it_from_its_worker(own_gateway: Any, monkeypatch: Any) -> None:
    own_gateway.start()
    async with (
        JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue,
        own_gateway.session("rich") as http,
    ):
        job = await submit(http)
        (claim,) = (await queue.claim(FLEET, worker="w", revision="r1")).claims
        checkpoint = own_gateway.folder / "state"
        checkpoint.write_bytes(b"latents")
        await own_gateway.store.put_file(f"out/{job}/checkpoint/r1.safetensors", checkpoint, "x/y")
        async with http.delete(f"/v1/videos/{job}", params={"purge": "true"}) as response:
            assert await response.json() == {"id": job, "object": "video.deleted", "deleted": True, "status": "failed"}
        assert not files_of(own_gateway, job)
        with pytest.raises(LeaseLost):
            await queue.beat(claim, Progress(stage="denoising"))
        assert "zirkonium" not in await everything_in_redis(own_gateway)
        assert (await queue.stats(FLEET)).running == 0
        # The worker was uploading when it lost the job: the second pass takes that.
        await own_gateway.store.put_file(f"out/{job}/1/video.mp4", checkpoint, "video/mp4")
        monkeypatch.setattr(leaving_module, "AGAIN_MS", 0)
        assert await leaving_of(own_gateway) == [f"2 videos out/{job}"]
        await Files(queue, {"videos": own_gateway.store}, Metrics()).delete(
            Owed.parse(FLEET, (await leaving_of(own_gateway))[0])
        )
        assert not files_of(own_gateway, job)
        assert await leaving_of(own_gateway) == []


async def test_a_tenant_is_erased_everywhere_and_nobody_else(own_gateway: Any, work: Any) -> None:
    own_gateway.rules = {"loner7": {"maxQueuedJobs": 100}}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner7") as http, own_gateway.session("loner8") as other:
        theirs = await work(own_gateway, await submit(other, prompt="someone else's boat"))
        done = await work(own_gateway, await submit(http))
        await submit(http, priority="batch")
        cancelled = await submit(http)
        async with http.delete(f"/v1/videos/{cancelled}"):
            pass
        async with http.post(
            "/v1/videos", json={"prompt": PROMPT, "model": FLEET_NAME}, headers={"Idempotency-Key": "zirkonium-key"}
        ) as response:
            assert response.status == 202
        async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
            (claim,) = (await queue.claim(FLEET, worker="w", revision="r1")).claims
            await queue.fail(claim, ErrorCode.GENERATION_FAILED, "it raised", retry=True)
        for wrong, expected in (({}, 422), ({"tenant": "loner8"}, 403), ({"tenant": 7}, 422), ({"all": True}, 422)):
            async with http.post("/v1/erase", json=wrong) as response:
                assert response.status == expected
        async with http.post("/v1/erase", json={"tenant": "loner7"}) as response:
            told = await response.json()
        assert told == {"object": "erasure", "tenant": "loner7", "videos": 4, "files": "deleted"}
        assert not files_of(own_gateway, done.id)
        said = await everything_in_redis(own_gateway)
        assert "loner7" not in said
        assert "zirkonium" not in said
        assert done.id not in said
        async with http.get("/v1/videos") as response:
            assert (await response.json())["data"] == []
        assert await status(other, f"/v1/videos/{theirs.id}/content") == 200
        async with http.post("/v1/erase", json={"tenant": "loner7"}) as response:
            assert (await response.json())["videos"] == 0


async def test_a_store_that_is_away_delays_the_files_only(own_gateway: Any, work: Any) -> None:
    own_gateway.start()
    async with (
        own_gateway.session("rich") as http,
        JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue,
    ):
        job = await work(own_gateway, await submit(http))
        await queue.leaving.purge(job.id)
        (owed,) = [Owed.parse(FLEET, text) for text in await leaving_of(own_gateway)]
        away = Files(queue, {}, Metrics())
        with pytest.raises(StoreError, match="videos is not mounted"):
            await away.delete(owed)
        assert await leaving_of(own_gateway) == [owed.text]

        async def has_no_files() -> bool:
            return not files_of(own_gateway, job.id)

        await eventually(has_no_files)


async def test_files_that_no_record_knows_go_after_the_retention(gateway: Any, queue: JobQueue, tmp_path: Path) -> None:
    store = ObjectStore.from_url("videos", f"file://{tmp_path}/store")
    policies = {each.fleet_uid: each for each in await _policies(gateway)}
    lasting = policies[FLEET]
    brief = lasting.model_copy(update={"fleet_uid": FLEET[:-1] + "2", "retention_s": 60})
    for policy in (lasting, brief):
        await queue.publish_policy(policy)
    now_ms = int(time.time() * 1000)
    old, new, kept, foreign = (
        ids.job_id(uid, now_ms, bytes([number] * 10))
        for number, uid in enumerate((brief.fleet_uid, brief.fleet_uid, lasting.fleet_uid, FLEET[:-1] + "9"))
    )
    some = tmp_path / "some"
    some.write_bytes(b"video")
    for job in (old, new, kept, foreign):
        await store.put_file(f"out/{job}/1/video.mp4", some, "video/mp4")
        if job != new:
            stored = tmp_path / "store/out" / job / "1/video.mp4"
            os.utime(stored, (time.time() - 7200, time.time() - 7200))
    (tmp_path / "store/out/readme.txt").write_text("not ours")
    metrics = Metrics()
    await Files(queue, {"videos": store}, metrics).search()
    assert sorted(path.name for path in (tmp_path / "store/out").iterdir()) == sorted(
        [new, kept, foreign, "readme.txt"]
    )
    assert metrics.registry.get_sample_value("videofleet_gateway_orphans") == 2
    assert metrics.registry.get_sample_value("videofleet_gateway_orphans_deleted_total") == 1


async def _policies(gateway: Any) -> list[Any]:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        found = [await queue.policy(uid) for uid in await queue.fleets()]
        return [policy for policy in found if policy is not None]


async def test_owed_folders_leave_an_s3_store_too(
    queue: JobQueue, gateway: Any, s3_secret: Path, tmp_path: Path
) -> None:
    store = ObjectStore.from_folder("videos", s3_secret)
    (policy, *_) = await _policies(gateway)
    await queue.publish_policy(policy)
    job, neighbour = (ids.job_id(policy.fleet_uid, 1, bytes([number] * 10)) for number in range(2))
    some = tmp_path / "some"
    some.write_bytes(b"video")
    keys = [f"out/{job}/1/video.mp4", f"out/{job}/1/thumbnail.jpg", f"out/{job}/checkpoint/r1.safetensors"]
    for key in [*keys, f"out/{neighbour}/1/video.mp4"]:
        await store.put_file(key, some, "video/mp4")
    await Files(queue, {"videos": store}, Metrics()).delete(Owed(policy.fleet_uid, "videos", f"out/{job}", "1 x y"))
    left = [key async for page in store.pages("out") for key, _ in page]
    assert left == [f"out/{neighbour}/1/video.mp4"]
