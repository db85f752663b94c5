"""A rolling restart of two gateways under load: behind a balancer that looks at readiness no request fails."""

import asyncio
import itertools
from typing import Any

import aiohttp
import pytest

CLIENTS = 8
ROUNDS = 2


class Balancer:
    """What a Service does: looks at readiness now and then, and picks among the ready ones in turn."""

    def __init__(self, gateways: list[Any]) -> None:
        self.gateways = gateways
        self.ready: list[Any] = []
        self._turn = itertools.count()

    def pick(self) -> Any:
        return self.ready[next(self._turn) % len(self.ready)]

    async def look_for_ever(self) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                self.ready = [each for each in self.gateways if await self._is_ready(http, each)]
                await asyncio.sleep(0.1)

    async def until_ready(self, gateway: Any) -> None:
        async with asyncio.timeout(60):
            while gateway not in self.ready:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.02)

    @staticmethod
    async def _is_ready(http: aiohttp.ClientSession, gateway: Any) -> bool:
        try:
            async with http.get(f"{gateway.health_url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


@pytest.fixture
def two_gateways(own_gateway: Any, tmp_path: Any) -> Any:
    """Two of one installation, which know the same keys."""
    other = type(own_gateway)(own_gateway.redis_url, tmp_path / "other", installation=own_gateway.installation)
    other.keys = own_gateway.keys
    other.write_keys()
    both = [own_gateway, other]
    for each in both:
        each.extra_arguments = ("--drain-delay=1",)
        each.start()
    yield both
    if other.process.poll() is None:
        other.process.kill()
        other.process.wait()


async def test_no_request_is_dropped(two_gateways: list[Any]) -> None:
    balancer = Balancer(two_gateways)
    looking = asyncio.create_task(balancer.look_for_ever())
    over = asyncio.Event()
    created: list[str] = []
    key = two_gateways[0].keys["loner0"]

    async def client() -> None:
        """Keeps its connections, as real ones do, and does not try again: a dropped request fails the test."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
            while not over.is_set():
                url = balancer.pick().url
                async with http.post(f"{url}/v1/videos", json={"prompt": "a fox runs"}) as response:
                    assert response.status == 202
                    created.append((await response.json())["id"])

    for each in two_gateways:
        await balancer.until_ready(each)
    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    for _ in range(ROUNDS):
        for each in two_gateways:
            before = len(created)
            assert await asyncio.to_thread(each.stop) == 0
            each.start()
            await balancer.until_ready(each)
            assert len(created) > before, "the other one served meanwhile"
    over.set()
    await asyncio.gather(*clients)
    looking.cancel()
    assert len(set(created)) == len(created)
    async with two_gateways[0].session("loner0") as http, http.get("/v1/usage") as response:
        assert (await response.json())["jobs"]["queued"] == len(created)
