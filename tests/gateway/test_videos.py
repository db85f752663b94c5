"""`/v1/videos` over real HTTP: refusals, idempotency, deletion, and that tenants never meet."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet.jobs import ErrorCode, Priority
from videofleet.objects import checkpoint_key
from videofleet.policy import FallbackRule
from videofleet.queue import JobQueue
from videofleet.store import ObjectNotFound

JSON = {"Content-Type": "application/json"}


async def create(http: aiohttp.ClientSession, **fields: Any) -> dict[str, Any]:
    async with http.post("/v1/videos", json={"prompt": "a car"} | fields) as response:
        assert response.status == 202, await response.text()
        return dict(await response.json())


async def get(http: aiohttp.ClientSession, job_id: str) -> dict[str, Any]:
    async with http.get(f"/v1/videos/{job_id}") as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "param"),
    [
        (b"{", JSON, 400, "malformed_body", None),
        (b"[]", JSON, 400, "malformed_body", None),
        (b"[" * 100_000, JSON, 400, "malformed_body", None),
        (b'{"prompt": NaN}', JSON, 400, "malformed_body", None),
        (b'{"prompt": "a", "prompt": "b"}', JSON, 400, "malformed_body", None),
        (b'{"prompt": "\xff"}', JSON, 400, "malformed_body", None),
        (b'{"seed": ' + b"9" * 5000 + b"}", JSON, 400, "malformed_body", None),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "malformed_body", None),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "malformed_body", None),
        (
            b"--b\r\nX: \x18\r\n\r\nx\r\n--b--",
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            "malformed_body",
            None,
        ),
        (b"prompt=x", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", None),
        (b"x", JSON | {"Content-Encoding": "gzip"}, 415, "unsupported_media_type", None),
        (b" " * (257 << 10), JSON, 413, "request_entity_too_large", None),
        (b"{}", JSON, 422, "invalid_value", "prompt"),
        (b'{"prompt": "x", "webhook": 7}', JSON, 422, "invalid_value", "webhook"),
        (b'{"prompt": "x", "model": "ads/tiny", "size": "1x1"}', JSON, 422, "invalid_value", "size"),
        (b'{"prompt": "x"}', JSON, 422, "invalid_value", "model"),
        (b'{"prompt": "x", "model": "tiny"}', JSON, 422, "invalid_value", "model"),
        (b'{"prompt": "x", "model": "studio/nothing"}', JSON, 404, "model_not_found", "model"),
        (b'{"prompt": "x", "model": "studio/secret"}', JSON, 404, "model_not_found", "model"),
        (b'{"prompt": "x", "model": "studio/gone"}', JSON, 410, "fleet_deleted", "model"),
        (b'{"prompt": "x", "model": "studio/full"}', JSON, 429, "queue_full", None),
        (
            b'{"prompt": "x", "model": "ads/five-b", "guidance_scale_2": 3}',
            JSON,
            422,
            "invalid_value",
            "guidance_scale_2",
        ),
        (b'{"prompt": "x"}', JSON | {"Idempotency-Key": "a b"}, 422, "invalid_value", "Idempotency-Key"),
        (b'{"prompt": "x"}', JSON | {"Idempotency-Key": "x" * 256}, 422, "invalid_value", "Idempotency-Key"),
    ],
)
async def test_a_refusal_is_a_problem_document_that_sdks_understand(
    gateway: Any, body: bytes, headers: dict[str, str], status: int, code: str, param: str | None
) -> None:
    async with gateway.session("rich") as http, http.post("/v1/videos", data=body, headers=headers) as response:
        problem = await response.json()
        assert response.status == status, problem
        assert response.content_type == "application/problem+json"
        assert problem["status"] == status
        assert problem["instance"].endswith(response.headers["X-Request-Id"])
        assert (problem["error"]["code"], problem["error"]["param"]) == (code, param), problem
        assert problem["error"]["message"] == problem["detail"]
        assert ("Retry-After" in response.headers) == (status == 429)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/videos/nothing", 404, "video_not_found"),
        ("GET", "/v1/videos/video_" + "0" * 52, 404, "video_not_found"),
        ("GET", "/v1/videos/..%2f..%2fetc%2fpasswd", 404, "video_not_found"),
        ("DELETE", "/v1/videos/video_" + "0" * 52, 404, "video_not_found"),
        ("GET", "/v1/videos/video_" + "0" * 52 + "/content", 404, "video_not_found"),
        ("GET", "/v1/videos?limit=0", 422, "invalid_value"),
        ("GET", "/v1/videos?limit=101", 422, "invalid_value"),
        ("GET", "/v1/videos?order=best", 422, "invalid_value"),
        ("GET", "/v1/videos?after=x", 422, "invalid_value"),
        ("GET", "/v1/videos?offset=1", 422, "invalid_value"),
        ("PUT", "/v1/videos", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
    ],
)
async def test_what_is_not_there(http: aiohttp.ClientSession, method: str, path: str, status: int, code: str) -> None:
    async with http.request(method, path) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (status, code)


@pytest.mark.parametrize("header", [None, "Bearer vf_nobody_0123456789abcdef", "Basic eDp5"])
async def test_no_key_no_entry(gateway: Any, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    async with aiohttp.ClientSession(gateway.url, headers=headers) as http, http.get("/v1/videos") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json())["error"]["code"] == "invalid_api_key"


async def test_files_are_refused_by_name(http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData({"prompt": "a car"})
    form.add_field("input_reference", b"\x89PNG", filename="a.png", content_type="image/png")
    async with http.post("/v1/videos", data=form) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (422, "input_reference")


async def test_a_new_video_shows_everything_to_its_owner(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/videos", json={"prompt": "a car", "seed": 5, "tier": "preview"}) as response:
        assert response.status == 202
        assert response.headers["openai-poll-after-ms"].isdigit()
        video = await response.json()
        assert response.headers["Location"] == f"/v1/videos/{video['id']}"
    created_at = video.pop("created_at")
    assert [advice["code"] for advice in video.pop("advice")] == ["too_short", "no_action"]
    assert isinstance(created_at, int)
    assert video == {
        "id": video["id"],
        "object": "video",
        "model": "studio/tiny",
        "status": "queued",
        "progress": 0,
        "completed_at": None,
        "expires_at": None,
        "size": "64x64",
        "seconds": "0.6",
        "error": None,
        "tier": "preview",
        "requested_tier": "preview",
        "fallback": None,
        "priority": "standard",
        "deadline": None,
        "seed": 5,
        "attempt": 0,
        "cancel_requested": False,
        "webhook": None,
        "cached": False,
        "prompt": "a car",
    }
    async with http.get("/v1/videos") as response:
        listed = (await response.json())["data"]
    assert [set(video) - set(shown) for shown in listed] == [{"prompt"}]


async def test_a_lowered_video_tells_what_it_is_made_in_and_why(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = (await create(http, tier="small", priority="batch", deadline=3600))["id"]
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        fleet_uid = (await queue.get(job_id)).fleet_uid
        policy = await queue.policy(fleet_uid)
        rule = FallbackRule(tier="preview", share_permille=1000, priorities=list(Priority), cause="long_wait")
        await queue.publish_policy(policy.model_copy(update={"fallback": rule}))
        while (claim := (await queue.claim(fleet_uid, worker="w", revision="r1")).claims[0]).job.id != job_id:
            pass  # left by other tests
        await queue.publish_policy(policy)
    video = await get(http, job_id)
    assert (video["requested_tier"], video["tier"], video["fallback"]) == ("small", "preview", "long_wait")
    assert (video["size"], video["priority"]) == (claim.tier.size, "batch")
    assert 3500 < video["deadline"] - video["created_at"] <= 3600


async def test_twenty_impatient_clients_get_one_job(http: aiohttp.ClientSession) -> None:
    async def post(number: int) -> tuple[int, str]:
        headers = {"Idempotency-Key": "order-66"}
        fields = {"prompt": "a car", "seconds": "1"}
        body: dict[str, Any] = {"json": fields}
        if number % 2:  # forms and JSON of the same meaning are the same request
            with aiohttp.MultipartWriter("form-data") as form:
                for name, value in fields.items():
                    form.append(value).set_content_disposition("form-data", name=name)
            body = {"data": form}
        async with http.post("/v1/videos", headers=headers, **body) as response:
            return response.status, (await response.json())["id"]

    answers = await asyncio.gather(*(post(number) for number in range(20)))
    assert len({job_id for _, job_id in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    async with http.post("/v1/videos", headers={"Idempotency-Key": "order-66"}, json={"prompt": "a dog"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (422, "idempotency_conflict")


async def test_deleting_cancels_what_waits_and_removes_it_the_second_time(http: aiohttp.ClientSession) -> None:
    job_id = (await create(http))["id"]
    async with http.delete(f"/v1/videos/{job_id}") as response:
        assert (await response.json()) == {
            "id": job_id,
            "object": "video.deleted",
            "deleted": False,
            "status": "failed",
        }
    video = await get(http, job_id)
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    async with http.get(f"/v1/videos/{job_id}/content") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "video_failed")
    async with http.delete(f"/v1/videos/{job_id}") as response:
        assert (await response.json())["deleted"] is True
    async with http.get(f"/v1/videos/{job_id}") as response:
        assert response.status == 404


async def test_deleting_asks_a_running_one_to_stop(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = (await create(http))["id"]
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        fleet_uid = (await queue.get(job_id)).fleet_uid
        while (claim := (await queue.claim(fleet_uid, worker="w", revision="r1")).claims[0]).job.id != job_id:
            pass  # left by other tests
        assert (await get(http, job_id))["status"] == "in_progress"
        async with http.delete(f"/v1/videos/{job_id}") as response:
            assert (await response.json())["status"] == "in_progress"
        assert (await get(http, job_id))["cancel_requested"] is True
        await queue.cancelled(claim)
    assert (await get(http, job_id))["error"]["code"] == ErrorCode.CANCELLED_BY_USER


async def test_deleting_takes_the_checkpoints_of_a_job_that_no_worker_holds(
    gateway: Any, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    job_id = (await create(http))["id"]
    (tmp_path / "state").write_bytes(b"state")
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        job = await queue.get(job_id)
        while (claim := (await queue.claim(job.fleet_uid, worker="w", revision="r1")).claims[0]).job.id != job_id:
            pass  # left by other tests
        await queue.give_back(claim)
    key = checkpoint_key(job.request.output_prefix, job_id, "r1")
    await gateway.store.put_file(key, tmp_path / "state", "application/octet-stream")
    async with http.delete(f"/v1/videos/{job_id}") as response:
        assert response.status == 200
    with pytest.raises(ObjectNotFound):
        await gateway.store.head(key)


async def test_a_failed_attempt_tells_why(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = (await create(http))["id"]
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        fleet_uid = (await queue.get(job_id)).fleet_uid
        while (claim := (await queue.claim(fleet_uid, worker="w", revision="r1")).claims[0]).job.id != job_id:
            pass
        await queue.fail(claim, ErrorCode.NOT_FINITE, "NaN in the latents", retry=False)
    video = await get(http, job_id)
    assert (video["status"], video["error"]) == ("failed", {"code": "not_finite", "message": "NaN in the latents"})


async def test_tenants_never_meet(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    job_id = (await create(http))["id"]
    await work(gateway, job_id)
    async with gateway.session("rich") as stranger:
        seen = []
        for method, path in [
            ("GET", f"/v1/videos/{job_id}"),
            ("GET", f"/v1/videos/{job_id}/content"),
            ("HEAD", f"/v1/videos/{job_id}/content"),
            ("DELETE", f"/v1/videos/{job_id}"),
        ]:
            async with stranger.request(method, path) as response:
                seen.append(response.status)
        assert seen == [404] * 4
        missing = job_id[:-4] + "0000"
        bodies = []
        for each in (job_id, missing):
            async with stranger.get(f"/v1/videos/{each}") as response:
                problem = await response.json()
                del problem["instance"]
                bodies.append(problem)
        assert bodies[0] == bodies[1]
        async with stranger.get("/v1/videos", params={"after": job_id}) as response:
            assert job_id not in json.dumps(await response.json())
    assert (await get(http, job_id))["status"] == "completed"


async def test_models_show_what_may_be_used(gateway: Any) -> None:
    async with gateway.session("rich") as http, http.get("/v1/models") as response:
        models = (await response.json())["data"]
    assert [model["id"] for model in models] == ["ads/five-b", "ads/tiny", "studio/full", "studio/tiny"]
    assert models[0]["tiers"][0] == {"name": "small", "size": "128x128", "seconds": "1.1", "fps": 16}


async def test_metrics_know_routes_and_no_users(gateway: Any, http: aiohttp.ClientSession) -> None:
    job_id = (await create(http))["id"]
    await get(http, job_id)
    async with http.get("/v1/" + "x" * 50), http.request("PROPFIND", "/v1/videos"):
        pass
    async with aiohttp.ClientSession(gateway.health_url) as anybody, anybody.get("/metrics") as response:
        text = await response.text()
    assert 'route="/v1/videos/{id}",status="200"' in text
    assert 'videofleet_gateway_submits_total{outcome="created"}' in text
    for secret in (job_id, "xxxx", "loner", "PROPFIND"):
        assert secret not in text
