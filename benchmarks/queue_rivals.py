"""Other queues on the same Redis with the same payload: arq, taskiq (streams) and rq, each as its own worker does it.

Usage: python benchmarks/queue_rivals.py URL JOBS CONCURRENCY < payload. Prints JSON. Runs in an environment with
requirements/bench-queue.txt, which our own packages do not share.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import arq
from arq.connections import RedisSettings
from redis import Redis
from rq import Queue, SimpleWorker
from taskiq_redis import RedisStreamBroker


async def nothing(_: Any, payload: str) -> int:
    """The job."""
    return len(payload)


def nothing_at_all(payload: str) -> int:
    """The same for rq, which finds it by its name."""
    return len(payload)


def memory(url: str) -> int:
    """Bytes that Redis has in use."""
    with Redis.from_url(url) as redis:
        return int(redis.info("memory")["used_memory"])


def quantiles(took: list[float], wall_s: float) -> dict[str, float]:
    """Operations a second, and p50 and p99 of one in milliseconds."""
    took.sort()
    return {
        "per_second": len(took) / wall_s,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
    }


async def timed(count: int, concurrency: int, call: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Runs `call` count times, so many at a time."""
    left, took = iter(range(count)), list[float]()

    async def one_by_one() -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one_by_one() for _ in range(concurrency)))
    return quantiles(took, time.perf_counter() - began)


async def with_arq(url: str, jobs: int, concurrency: int, payload: str) -> dict[str, Any]:
    """enqueue_job, then a burst worker."""
    pool = await arq.create_pool(RedisSettings.from_dsn(url))
    before = memory(url)
    submit = await timed(jobs, concurrency, lambda: pool.enqueue_job("nothing", payload))
    held = memory(url) - before
    worker = arq.Worker(
        [nothing], redis_pool=pool, burst=True, max_jobs=concurrency, handle_signals=False, poll_delay=0.01
    )
    began = time.perf_counter()
    await worker.async_run()
    return {"submit": submit, "work": {"per_second": jobs / (time.perf_counter() - began)}, "bytes_a_job": held / jobs}


async def with_taskiq(url: str, jobs: int, concurrency: int, payload: str) -> dict[str, Any]:
    """kiq, then listen and acknowledge: no result is stored."""
    broker = RedisStreamBroker(url)
    task = broker.register_task(nothing_at_all, task_name="nothing")
    await broker.startup()
    before = memory(url)
    submit = await timed(jobs, concurrency, lambda: task.kiq(payload))
    held, done = memory(url) - before, 0
    began = time.perf_counter()
    async for message in broker.listen():
        await message.ack()
        done += 1
        if done == jobs:
            break
    work = {"per_second": jobs / (time.perf_counter() - began)}
    await broker.shutdown()
    return {"submit": submit, "work": work, "bytes_a_job": held / jobs}


def with_rq(url: str, jobs: int, payload: str) -> dict[str, Any]:
    """enqueue, then a burst of SimpleWorker; one at a time, as rq does."""
    with Redis.from_url(url) as redis:
        queue, took = Queue(connection=redis), list[float]()
        before, began = memory(url), time.perf_counter()
        for _ in range(jobs):
            start = time.perf_counter()
            queue.enqueue("queue_rivals.nothing_at_all", payload)
            took.append(time.perf_counter() - start)
        submit, held = quantiles(took, time.perf_counter() - began), memory(url) - before
        began = time.perf_counter()
        SimpleWorker([queue], connection=redis).work(burst=True, logging_level="ERROR")
    return {"submit": submit, "work": {"per_second": jobs / (time.perf_counter() - began)}, "bytes_a_job": held / jobs}


def main() -> None:
    """Measures all three, one after the other, each on an empty Redis."""
    url, jobs, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    payload = sys.stdin.read()
    logging.disable(logging.CRITICAL)
    report = {}
    for name, measure in (
        ("arq", lambda: asyncio.run(with_arq(url, jobs, concurrency, payload))),
        ("taskiq", lambda: asyncio.run(with_taskiq(url, jobs, concurrency, payload))),
        ("rq", lambda: with_rq(url, jobs, payload)),
    ):
        with Redis.from_url(url) as redis:
            redis.flushall()
        report[name] = measure()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
