"""Redis dies and comes back, keys change, the gateway is told to stop: what clients see, and what no log says."""

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import psutil
import pytest

from videofleet.queue import client as queue_client

CANARY = "zirkonium-canary"
TOLD_S, SLACK_S = 2.0, 3.0  # the promise, and a busy machine


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as response:
        return response.status


async def test_redis_down_is_503_within_2_s_and_heals(own_gateway: Any, redis_server: Any) -> None:
    redis_server.kill()
    own_gateway.start()  # listens although Redis is away
    async with own_gateway.session("rich") as http:
        assert await status(http, "/healthz") == 200
        assert await status(http, "/readyz") == 503
        for method, path in [
            ("POST", "/v1/videos"),
            ("GET", "/v1/videos"),
            ("GET", "/v1/models"),
            ("GET", "/v1/videos/video_" + "0" * 52),
        ]:
            began = time.monotonic()
            body = {"json": {"prompt": "x", "model": "studio/tiny"}} if method == "POST" else {}
            async with http.request(method, path, **body) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "queue_unavailable")
                assert int(response.headers["Retry-After"]) >= 1
            assert time.monotonic() - began < TOLD_S + SLACK_S
        redis_server.start()

        async def submits() -> bool:
            async with http.post("/v1/videos", json={"prompt": "x", "model": "studio/tiny"}) as response:
                return response.status == 202

        await eventually(submits)
        assert await status(http, "/readyz") == 200
    assert own_gateway.stop() == 0
    assert "Traceback" not in own_gateway.log()


async def test_a_silent_redis_is_503_within_2_s(own_gateway: Any) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever.wait()
        writer.close()

    forever = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    own_gateway.redis_url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        for path in ("/v1/videos", "/v1/models", "/readyz"):
            began = time.monotonic()
            assert await status(http, path) == 503
            assert time.monotonic() - began < TOLD_S + SLACK_S
    forever.set()
    server.close()


@pytest.mark.parametrize("redis_server", ["everysec", "always"], indirect=True)
async def test_a_full_disk_under_redis_is_503_and_loses_nothing(own_gateway: Any, redis_server: Any) -> None:
    """A limit on the size of files stands for the full disk. Redis goes on reading; under `always` it ends."""
    own_gateway.start()
    accepted: list[str] = []
    redis = psutil.Process(redis_server.process.pid)
    async with own_gateway.session("loner0") as http:

        async def submits() -> int:
            began = time.monotonic()
            async with http.post("/v1/videos", json={"prompt": "a fox runs"}) as response:
                told = await response.json()
                if response.status == 202:
                    accepted.append(told["id"])
                else:
                    assert told["error"]["code"] == "queue_unavailable"
                    assert int(response.headers["Retry-After"]) >= 1
                    assert time.monotonic() - began < 5
                return response.status

        async def is_refused() -> bool:
            return await submits() == 503

        async def is_accepted() -> bool:
            return await submits() == 202

        for _ in range(20):
            assert await is_accepted()
        written = max(file.stat().st_size for file in redis_server.folder.rglob("*.aof*") if file.is_file())
        redis.rlimit(psutil.RLIMIT_FSIZE, (written + 4096, resource.RLIM_INFINITY))
        await eventually(is_refused, within_s=60)
        if "always" in redis_server.extra:
            redis_server.process.wait(60)
            redis_server.start()
        else:
            assert await status(http, f"/v1/videos/{accepted[0]}") == 200, "reading goes on"
            redis.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await eventually(is_accepted, within_s=60)
        redis_server.kill()
        redis_server.start()

        async def are_all_there() -> bool:
            return {await status(http, f"/v1/videos/{job}") for job in accepted} == {200}

        await eventually(are_all_there, within_s=60)


async def test_lost_jobs_come_back_without_any_worker(own_gateway: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(queue_client, "LEASE_MS", 50)  # of the worker in this test: it never beats
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        async with http.post("/v1/videos", json={"prompt": "x", "model": "studio/tiny"}) as response:
            job_id = (await response.json())["id"]
        async with queue_client.JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
            claimed = await queue.claim((await queue.get(job_id)).fleet_uid, worker="w", revision="r1")
            assert claimed.claims

        async def waits_again() -> bool:
            async with http.get(f"/v1/videos/{job_id}") as response:
                return bool((await response.json())["status"] == "queued")

        await eventually(waits_again)


async def test_keys_change_while_it_runs(own_gateway: Any) -> None:
    own_gateway.start()
    async with own_gateway.session("rich") as old:
        assert await status(old, "/v1/models") == 200
        own_gateway.keys["rich"] = own_gateway.keys["rich"][:-4] + "0000"
        own_gateway.write_keys()
        assert await status(old, "/v1/models") == 401
    async with own_gateway.session("rich") as new:
        assert await status(new, "/v1/models") == 200


async def test_sigterm_finishes_what_runs(own_gateway: Any) -> None:
    own_gateway.extra_arguments = ("--drain-delay=5",)
    own_gateway.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", own_gateway.port)
    body = json.dumps({"prompt": "x", "model": "studio/tiny"}).encode()
    head = f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {own_gateway.keys['rich']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:5])
    await writer.drain()
    async with own_gateway.session("rich") as http:
        assert await status(http, "/readyz") == 200
        own_gateway.process.terminate()

        async def unready() -> bool:
            return await status(http, "/readyz") == 503

        await eventually(unready, within_s=5)
        assert await status(http, "/v1/models") == 200  # a balancer has not noticed yet
    writer.write(body[5:])
    reply = await reader.read()
    assert reply.startswith(b"HTTP/1.1 202")
    writer.close()
    assert await asyncio.to_thread(own_gateway.process.wait, 60) == 0


async def test_neither_prompt_nor_key_reaches_the_log(own_gateway: Any, redis_server: Any) -> None:
    """A canary in every place where a client may put text, through success, refusal, malformed HTTP and an outage."""
    own_gateway.start()
    secret = own_gateway.keys["rich"]
    fields = {"prompt": CANARY, "negative_prompt": CANARY, "model": "studio/tiny"}
    async with own_gateway.session("rich") as http:
        for body in (fields, {"prompt": CANARY, CANARY: CANARY}, {"prompt": CANARY * 1000}, {"size": CANARY}):
            async with http.post("/v1/videos", json=body, headers={"Idempotency-Key": CANARY}):
                pass
        await status(http, f"/v1/videos/{CANARY}?{CANARY}={CANARY}")
        await status(http, f"/v1/{CANARY}")
        redis_server.kill()
        async with http.post("/v1/videos", json=fields, headers={"X-Request-Id": CANARY}) as response:
            assert response.status == 503
    for line in (f"X: {CANARY}\x01", f"Authorization: Bearer {secret}\x00", f"X: {CANARY * 1000}"):
        reader, writer = await asyncio.open_connection("127.0.0.1", own_gateway.port)
        writer.write(f"GET /{CANARY} HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
        expected = b" 431 " if len(line) > 8190 else b" 400 "
        assert expected in (await reader.read()).split(b"\r\n")[0]
        writer.close()
    assert own_gateway.stop() == 0
    log = own_gateway.log()
    assert CANARY not in log
    assert secret not in log
    assert secret.split("_", 2)[2] not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"request", "listening", "draining", "stopped"} <= {line["message"] for line in lines}
    served = next(line for line in lines if line["message"] == "request" and line["status"] == 202)
    assert (served["route"], served["tenant"], served["key"]) == ("/v1/videos", "rich", "richk")
    assert served["job"].startswith("video_")


def test_a_wrong_start_says_what_to_change(own_gateway: Any) -> None:
    own_gateway.keys_file.write_text("{}")
    with contextlib.suppress(AssertionError):
        own_gateway.start()
    assert own_gateway.process.wait(60) == 1
    line = json.loads(own_gateway.log().splitlines()[-1])
    assert "keys.json" in line["message"]
