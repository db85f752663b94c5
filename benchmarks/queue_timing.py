"""What `bench_queue.py` and `queue_rivals.py` measure with: wall clock, and processor time of the client and of Redis.

The processor times hold on a busy machine too; rates and latencies want a quiet one. Runs in both environments, so it
knows neither our packages nor theirs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from redis import Redis

Timing = dict[str, float]


@dataclass
class Clock:
    """A context that measures `count` operations on one Redis; read `timing` after it."""

    redis: Redis
    count: int
    took_s: list[float] = field(default_factory=list)  # of single operations, where they are told apart
    timing: Timing = field(default_factory=dict)

    def __enter__(self) -> "Clock":
        self._redis_s, self._client_s, self._began = self._redis_cpu_s(), time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall_s, client_s = time.perf_counter() - self._began, time.process_time() - self._client_s
        self.timing = {
            "per_second": self.count / wall_s,
            "client_cpu_us": client_s / self.count * 1e6,
            "redis_cpu_us": (self._redis_cpu_s() - self._redis_s) / self.count * 1e6,
        }
        if self.took_s:
            took_s = sorted(self.took_s)
            self.timing["p50_ms"] = took_s[len(took_s) // 2] * 1000
            self.timing["p99_ms"] = took_s[int(len(took_s) * 0.99)] * 1000

    def _redis_cpu_s(self) -> float:
        used = self.redis.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def timed(redis: Redis, count: int, concurrency: int, call: Callable[[], Awaitable[object]]) -> Timing:
    """Runs `call` count times, so many at a time."""
    left = iter(range(count))
    with Clock(redis, count) as clock:

        async def one_by_one() -> None:
            for _ in left:
                began = time.perf_counter()
                await call()
                clock.took_s.append(time.perf_counter() - began)

        await asyncio.gather(*(one_by_one() for _ in range(concurrency)))
    return clock.timing


def memory(redis: Redis) -> int:
    """Bytes that Redis has in use."""
    return int(redis.info("memory")["used_memory"])
