"""Batches over HTTP: good lines become videos, bad ones are told by number, and a crash in between loses neither."""

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import openai
import pytest

from videofleet import ids
from videofleet.jobs import NewJob, VideoRequest
from videofleet.queue import Batch, BatchLine, BatchNotFound, JobQueue, batch_id
from videofleet_gateway.auth import Keyring
from videofleet_gateway.batches import feeder
from videofleet_gateway.directory import FleetDirectory
from videofleet_gateway.services import Services

ERASED: Final = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"  # the fleet that loners see
JSONL = {"Content-Type": "application/jsonl"}


def line(custom_id: str | None = None, **fields: Any) -> str:
    frame: dict[str, Any] = {"body": {"prompt": "a fox runs over the hill"} | fields}
    return json.dumps(frame | ({"custom_id": custom_id} if custom_id else {}))


async def hand_in(
    http: aiohttp.ClientSession, *lines: str, key: str | None = None, status: int = 202
) -> dict[str, Any]:
    headers = JSONL | ({"Idempotency-Key": key} if key else {})
    async with http.post("/v1/batches", data="\n".join(lines), headers=headers) as response:
        body = dict(await response.json())
        assert response.status == status, body
        return body


async def get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as response:
        assert response.status == 200
        return dict(await response.json())


async def results(http: aiohttp.ClientSession, batch: str) -> list[dict[str, Any]]:
    async with http.get(f"/v1/batches/{batch}/results") as response:
        assert (response.status, response.content_type) == (200, "application/jsonl")
        return [json.loads(row) for row in (await response.text()).splitlines()]


async def until(look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while not holds(seen := await look()):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
    return seen


async def fed(http: aiohttp.ClientSession, batch: str) -> list[dict[str, Any]]:
    """The results once every line is a video or an error."""
    found = await until(
        lambda: results(http, batch), lambda rows: all(row["id"] or row["status"] == "failed" for row in rows)
    )
    return list(found)


async def test_prompts_in_results_out(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    lines = [line("a"), "", line("b", seed=7), line("c", tier="8k"), "{", line("a"), line("d", priority="interactive")]
    batch = await hand_in(http, *lines)
    assert batch["request_counts"]["total"] == 6
    assert [(each["line"], each["param"]) for each in batch["errors"]["data"]] == [
        (4, "tier"),
        (5, None),
        (6, "custom_id"),
        (7, "priority"),
    ]
    first, second, *bad = await fed(http, batch["id"])
    assert [(row["line"], row["custom_id"]) for row in (first, second)] == [(1, "a"), (3, "b")]
    assert {row["status"] for row in bad} == {"failed"}
    video = await get(http, f"/v1/videos/{second['id']}")
    assert (video["seed"], (await get(http, f"/v1/batches/{batch['id']}"))["status"]) == (7, "in_progress")
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        assert (await queue.get(first["id"])).priority == "batch"
    await work(gateway, first["id"])
    async with http.delete(f"/v1/videos/{second['id']}"):
        pass
    done = await get(http, f"/v1/batches/{batch['id']}")
    assert (done["status"], done["request_counts"]) == (
        "completed",
        {"total": 6, "completed": 1, "failed": 5, "deleted": 0},
    )
    rows = await results(http, batch["id"])
    async with http.get(rows[0]["content_url"]) as response:
        assert (response.status, response.content_type) == (200, "video/mp4")
    assert (rows[1]["status"], rows[1]["error"]["code"], rows[1]["content_url"]) == ("failed", "cancelled", None)
    async with http.delete(f"/v1/videos/{first['id']}"):
        pass
    assert (await results(http, batch["id"]))[0]["status"] == "deleted"


async def test_a_form_and_the_sdk_do_as_well(gateway: Any, http: aiohttp.ClientSession, tenant: str) -> None:
    form = aiohttp.FormData()
    form.add_field("file", line("x") + "\n" + line("y"), filename="prompts.jsonl")
    async with http.post("/v1/batches", data=form) as response:
        batch = await response.json()
        assert (response.status, batch["request_counts"]["total"]) == (202, 2)
    async with openai.AsyncOpenAI(api_key=gateway.keys[tenant], base_url=f"{gateway.url}/v1") as sdk:
        assert (await sdk.batches.retrieve(batch["id"])).request_counts.total == 2  # type: ignore[union-attr]
        assert [each.id async for each in sdk.batches.list()] == [batch["id"]]
        assert (await sdk.batches.cancel(batch["id"])).status in ("cancelling", "cancelled")


async def test_the_same_key_is_the_same_batch(http: aiohttp.ClientSession) -> None:
    first = await hand_in(http, line(), key="k")
    again = await hand_in(http, line(), key="k", status=200)
    assert again["id"] == first["id"]
    problem = await hand_in(http, line(), line(), key="k", status=422)
    assert problem["error"]["code"] == "idempotency_conflict"
    assert len(await fed(http, first["id"])) == 1
    listed = await get(http, "/v1/batches")
    assert [each["id"] for each in listed["data"]] == [first["id"]]


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        ("", 422, "0 lines"),
        ("\n" * 9000, 422, "0 lines"),
        ("[]\n{}", 422, "line 1"),
        (line() + "\n" + "x" * (8 << 20), 413, "Too Large"),
        ('{"body": {"prompt": "a"}, "url": "/v1/chat"}', 422, "/v1/videos"),
    ],
)
async def test_a_file_without_any_good_line_is_refused(
    http: aiohttp.ClientSession, data: str, status: int, says: str
) -> None:
    async with http.post("/v1/batches", data=io.BytesIO(data.encode()), headers=JSONL) as response:
        assert (response.status, says in (await response.json())["detail"]) == (status, True)
    assert (await get(http, "/v1/batches"))["data"] == []


async def test_nobody_sees_anothers_batch(gateway: Any, http: aiohttp.ClientSession) -> None:
    batch = await hand_in(http, line())
    async with gateway.session("idler") as stranger:
        assert (await get(stranger, "/v1/batches"))["data"] == []
        for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/cancel")):
            async with stranger.request(method, f"/v1/batches/{batch['id']}{path}") as response:
                assert (response.status, (await response.json())["error"]["code"]) == (404, "batch_not_found")
    assert len(await fed(http, batch["id"])) == 1


async def test_pages_of_batches_meet(http: aiohttp.ClientSession) -> None:
    made = [(await hand_in(http, line()))["id"] for _ in range(3)]
    first = await get(http, "/v1/batches?limit=2")
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:0:-1], True)
    rest = await get(http, f"/v1/batches?limit=2&after={first['last_id']}")
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[:1], False)


async def test_cancelling_stops_every_job(http: aiohttp.ClientSession) -> None:
    batch = await hand_in(http, *(line(str(number)) for number in range(120)))
    async with http.post(f"/v1/batches/{batch['id']}/cancel") as response:
        assert response.status == 202
    done = await until(lambda: get(http, f"/v1/batches/{batch['id']}"), lambda seen: seen["status"] == "cancelled")
    assert done["request_counts"] == {"total": 120, "completed": 0, "failed": 120, "deleted": 0}
    assert {row["error"]["code"] for row in await results(http, batch["id"])} == {"cancelled"}


async def test_a_gateway_that_dies_while_feeding_leaves_each_line_one_video(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"maxQueuedJobs": 100}}  # so that it stands half-way
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        batch = await hand_in(http, *(line(str(number)) for number in range(150)))
        await until(lambda: results(http, batch["id"]), lambda rows: sum(bool(row["id"]) for row in rows) == 100)
    own_gateway.process.kill()
    own_gateway.process.wait()
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        next_line = (await queue.batches.lines(await queue.batches.get("loner0", batch["id"]), 100, 1))[0]
        await queue.submit(next_line.job)  # it died between this and noting it
        await queue.batches.again("loner0", batch["id"], 0)  # the pause of the dead one is over
    own_gateway.rules = {}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        rows = await fed(http, batch["id"])
        assert len({row["id"] for row in rows}) == 150
        assert (await get(http, "/v1/usage"))["jobs"]["queued"] == 150


async def test_erasing_a_tenant_takes_its_batches_and_what_they_hold(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"maxQueuedJobs": 1}}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        batch = await hand_in(http, line("a"), line("b"))
        await until(lambda: results(http, batch["id"]), lambda rows: bool(rows[0]["id"]))
        async with http.post("/v1/erase", json={"tenant": "loner0"}) as response:
            assert (await response.json())["videos"] == 1
        async with http.get(f"/v1/batches/{batch['id']}") as response:
            assert response.status == 404
        async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
            assert "hill" not in str([await queue._redis.dump(key) for key in await queue._redis.keys("*loner0*")])
            assert await queue._redis.zcard(f"vf:{{{own_gateway.installation}}}:batches") == 0
        assert (await get(http, "/v1/usage"))["jobs"]["queued"] == 0


async def test_a_batch_leaves_room_for_others(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"maxQueuedJobs": 3}}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        batch = await hand_in(http, *(line(str(number)) for number in range(5)))

        rows = await until(lambda: results(http, batch["id"]), lambda rows: sum(bool(row["id"]) for row in rows) == 3)
        assert [bool(row["id"]) for row in rows] == [True] * 3 + [False] * 2
        for row in rows[:3]:
            async with http.delete(f"/v1/videos/{row['id']}"):
                pass
        assert all(row["id"] for row in await fed(http, batch["id"]))


async def test_a_feeder_that_was_reading_brings_nothing_back_after_an_erasure(
    own_gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica has the lines in hand when the tenant is erased."""
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        policy = await queue.policy(ERASED)
        assert policy is not None
        request = VideoRequest(prompt="zirkonium", seed=1, tier=policy.tiers[0])
        now_ms = int(time.time() * 1000)
        jobs = [
            NewJob(id=ids.job_id(ERASED, now_ms, bytes([n] * 10)), fleet_uid=ERASED, tenant="loner0", request=request)
            for n in range(3)
        ]
        new = Batch(batch_id(now_ms, bytes(10)), "loner0", now_ms, total=3, cursor=0)
        await queue.batches.create(new, [BatchLine(number=n + 1, job=job) for n, job in enumerate(jobs)], "", "")
        read = queue.batches.lines

        async def erased_after_reading(*args: Any) -> list[BatchLine]:
            lines = await read(*args)
            own_gateway.start()
            async with (
                own_gateway.session("loner0") as http,
                http.post("/v1/erase", json={"tenant": "loner0"}) as response,
            ):
                assert response.status == 200
            return lines

        monkeypatch.setattr(queue.batches, "lines", erased_after_reading)
        stores = {"videos": own_gateway.store}
        await feeder.feed_once(Services(queue, FleetDirectory(queue), Keyring(own_gateway.keys_file), stores))
        assert await queue.page([ERASED], "loner0", after=None, limit=10, newest_first=True) == []
        assert (await queue.stats(ERASED)).waiting == 0
        with pytest.raises(BatchNotFound):
            await queue.batches.get("loner0", new.id)
