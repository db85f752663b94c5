"""Rate limits and usage: what a tenant may and what it has; nobody is charged for another."""

import asyncio
from typing import Any

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from videofleet import ids
from videofleet.queue import JobQueue
from videofleet_gateway.rate import Bucket, RateLimits, take


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_then_evenly() -> None:
    clock = Clock()
    limits = RateLimits(clock)
    assert [limits.request("a", 60).allowed for _ in range(61)] == [True] * 60 + [False]
    refused = limits.request("a", 60)
    assert (refused.remaining, refused.retry_after_s) == (0, 1)
    assert limits.request("b", 60).allowed, "each tenant has its own"
    clock.now += 2.0
    assert [limits.request("a", 60).allowed for _ in range(3)] == [True, True, False]
    clock.now += 3600
    assert limits.request("a", 60).remaining == 59, "a bucket does not overflow"


@given(st.integers(1, 1000), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_the_rate_allows_and_retry_after_is_true(per_minute: int, pauses: list[float]) -> None:
    now, bucket, passed = 0.0, None, 0
    for pause in pauses:
        now += pause
        bucket, verdict = take(bucket, per_minute, now)
        passed += verdict.allowed
        if not verdict.allowed:
            _, later = take(bucket, per_minute, now + verdict.retry_after_s + 1e-6)
            assert later.allowed
    assert passed <= per_minute * (1 + now / 60) + 1e-6
    assert take(Bucket(0.0, now), per_minute, now)[1].allowed is False


async def test_the_limit_over_http(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"requestsPerMinute": 3}}
    own_gateway.write_keys()
    own_gateway.start()

    async def status(http: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        async with http.get("/v1/videos") as response:
            await response.read()
            return response

    async with own_gateway.session("loner0") as http, own_gateway.session("loner1") as other:
        replies = [await status(http) for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert replies[0].headers["RateLimit-Policy"] == '"requests";q=3;w=60'
        assert replies[0].headers["RateLimit"] == '"requests";r=2;t=20'
        assert 1 <= int(replies[3].headers["Retry-After"]) <= 20
        free = await status(other)
        assert (free.status, "RateLimit" in free.headers) == (200, False)
        async with http.get("/healthz") as response:
            assert response.status == 200
        own_gateway.rules = {"loner0": {"requestsPerMinute": 1_000_000}}
        own_gateway.write_keys()
        async with asyncio.timeout(60):
            while (await status(http)).status == 429:  # noqa: ASYNC110 - the bucket fills, in another process
                await asyncio.sleep(0.01)


async def test_usage_counts_the_tenants_own(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    made = []
    for _ in range(3):
        async with http.post("/v1/videos", json={"prompt": "a fox runs over the hill"}) as response:
            made.append((await response.json())["id"])
    await work(gateway, made[0])
    async with http.delete(f"/v1/videos/{made[1]}"):
        pass
    async with http.get("/v1/usage") as response:
        usage = await response.json()
    assert {state: count for state, count in usage["jobs"].items() if count} == {
        "queued": 1,
        "completed": 1,
        "cancelled": 1,
    }
    assert usage["worker_seconds"] > 0
    assert set(usage["limits"].values()) == {None}
    async with gateway.session("idler") as idler, idler.get("/v1/usage") as response:
        nothing = await response.json()
    assert (sum(nothing["jobs"].values()), nothing["worker_seconds"]) == (0, 0)


async def test_the_queued_cap_counts_what_waits_and_never_breaks_a_repeat(own_gateway: Any, work: Any) -> None:
    own_gateway.rules = {"loner0": {"maxQueuedJobs": 2}}
    own_gateway.write_keys()
    own_gateway.start()
    body = {"prompt": "a fox runs over the hill"}

    async def post(http: aiohttp.ClientSession, key: str) -> tuple[int, dict[str, Any]]:
        async with http.post("/v1/videos", json=body, headers={"Idempotency-Key": key}) as response:
            assert ("Retry-After" in response.headers) == (response.status == 429)
            return response.status, await response.json()

    async with own_gateway.session("loner0") as http, own_gateway.session("loner1") as other:
        _, first = await post(http, "a")
        assert [(await post(http, key))[0] for key in ("b", "c", "a")] == [202, 429, 200]
        status, problem = await post(http, "c")
        assert (status, problem["error"]["code"]) == (429, "too_many_queued")
        assert (await post(other, "c"))[0] == 202
        await work(own_gateway, first["id"])
        assert (await post(http, "c"))[0] == 202


async def test_the_seconds_of_a_day_are_refused_with_the_time_until_midnight(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"workerSecondsPerDay": 1}, "loner1": {"maxUnfinishedJobs": 1}}
    own_gateway.write_keys()
    own_gateway.start()

    async def post(http: aiohttp.ClientSession, tier: str) -> tuple[int, str | None, int]:
        async with http.post("/v1/videos", json={"prompt": "a fox runs", "tier": tier}) as response:
            code = (await response.json()).get("error") or {"code": None}
            return response.status, code["code"], int(response.headers.get("Retry-After", 0))

    async with own_gateway.session("loner0") as http, own_gateway.session("loner1") as other:
        while (refusal := await post(http, "small"))[0] == 202:
            pass
        assert refusal[:2] == (429, "worker_seconds_spent")
        assert 0 < refusal[2] <= 86_401
        assert [(await post(other, "small"))[:2] for _ in range(2)] == [(202, None), (429, "too_many_unfinished")]
        async with http.get("/v1/usage") as response:
            assert (await response.json())["limits"]["worker_seconds_per_day"] == 1


async def test_more_than_a_tenant_may_have_running_waits(own_gateway: Any) -> None:
    own_gateway.rules = {"loner0": {"maxRunningJobs": 1}}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        for _ in range(2):
            async with http.post("/v1/videos", json={"prompt": "a fox runs", "tier": "small"}) as response:
                assert response.status == 202
                fleet = ids.fleet_uid_of((await response.json())["id"])
        async with http.get("/v1/usage") as response:
            assert (await response.json())["limits"]["running_jobs"] == 1
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        assert [len((await queue.claim(fleet or "", worker="w", revision="r1")).claims) for _ in range(2)] == [1, 0]
