"""The circuit breaker: fast refusals while something is away, one trial at a time, closed by the first success."""

import asyncio
import time
from typing import Any

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from videofleet_gateway.breaker import OPEN_S, PROBE_S, THRESHOLD, Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(THRESHOLD):
        assert breaker.admits()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.is_open
    assert not breaker.admits()
    clock.now += OPEN_S
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.failed()
    assert not breaker.admits()
    clock.now += OPEN_S
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3


def test_a_trial_that_never_ends_does_not_keep_it_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += OPEN_S
    assert breaker.admits()
    clock.now += PROBE_S
    assert breaker.admits()


@given(st.lists(st.sampled_from(["ok", "no", "no", "wait"]), max_size=60))
def test_a_success_always_closes_it(story: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for event in story:
        clock.now += OPEN_S if event == "wait" else 0.0
        if event == "no":
            breaker.failed()
        elif event == "ok":
            breaker.succeeded()
            assert not breaker.is_open
            assert breaker.admits()


async def test_a_crowd_before_a_dead_redis_does_not_wait_in_line(own_gateway: Any, redis_server: Any) -> None:
    """Redis takes connections and says nothing: the worst case, because each call has to time out."""
    forever = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    own_gateway.redis_url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    own_gateway.start()

    async def ask(http: aiohttp.ClientSession) -> float:
        began = time.monotonic()
        async with http.get("/v1/models") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            await response.read()
        return time.monotonic() - began

    async with own_gateway.session("rich") as http:
        await asyncio.gather(*(ask(http) for _ in range(THRESHOLD)))
        waits = sorted([await ask(http) for _ in range(50)])
        assert waits[25] < 0.2, "refused at once"
        assert waits[-1] < 2.5, "the trial"
        async with http.get("/metrics") as response:
            assert 'videofleet_gateway_breaker_open{dependency="redis"} 1.0' in await response.text()
    forever.set()
    server.close()
