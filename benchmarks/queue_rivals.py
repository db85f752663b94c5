"""Other queues on the same Redis with the same payload: arq, taskiq (streams) and rq, each as its own worker does it.

Usage: python benchmarks/queue_rivals.py URL JOBS CONCURRENCY < payload. Prints JSON. Runs in an environment with
requirements/bench-queue.txt, which our own packages do not share.
"""

import asyncio
import json
import logging
import sys
import time
from typing import Any

import arq
from arq.connections import RedisSettings
from queue_timing import Clock, Timing, memory, timed
from redis import Redis
from rq import Queue, SimpleWorker
from taskiq.receiver import Receiver
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

Report = dict[str, Any]


async def nothing(_: Any, payload: str) -> int:
    """The job."""
    return len(payload)


def nothing_at_all(payload: str) -> int:
    """The same for rq, which finds it by its name."""
    return len(payload)


async def nothing_awaited(payload: str) -> int:
    """The same for taskiq."""
    return len(payload)


async def with_arq(redis: Redis, url: str, jobs: int, concurrency: int, payload: str) -> Report:
    """enqueue_job, then a burst worker; results are kept."""
    pool = await arq.create_pool(RedisSettings.from_dsn(url))
    before = memory(redis)
    submit = await timed(redis, jobs, concurrency, lambda: pool.enqueue_job("nothing", payload))
    held = memory(redis) - before
    worker = arq.Worker(
        [nothing], redis_pool=pool, burst=True, max_jobs=concurrency, handle_signals=False, poll_delay=0.01
    )
    with Clock(redis, jobs) as clock:
        await worker.async_run()
    return {"submit": submit, "work": clock.timing, "bytes_a_job": held / jobs}


async def with_taskiq(redis: Redis, url: str, jobs: int, payload: str, concurrency: int) -> Report:
    """kiq, then listen and acknowledge: nothing is run and no result is stored."""
    broker = RedisStreamBroker(url)
    task = broker.register_task(nothing_awaited, task_name="nothing")
    await broker.startup()
    before = memory(redis)
    submit = await timed(redis, jobs, concurrency, lambda: task.kiq(payload))
    held, done = memory(redis) - before, 0
    with Clock(redis, jobs) as clock:
        async for message in broker.listen():
            await message.ack()
            done += 1
            if done == jobs:
                break
    await broker.shutdown()
    return {"submit": submit, "work": clock.timing, "bytes_a_job": held / jobs}


async def with_taskiq_results(redis: Redis, url: str, jobs: int, payload: str, concurrency: int) -> Report:
    """kiq, then its own receiver with a result backend: what a caller needs who wants to know how a job ended."""
    broker = RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url))
    task = broker.register_task(nothing_awaited, task_name="nothing")
    await broker.startup()
    receiver, running = Receiver(broker, max_async_tasks=concurrency), set[asyncio.Task[Any]]()
    before = memory(redis)
    submit = await timed(redis, jobs, concurrency, lambda: task.kiq(payload))
    held, begun = memory(redis) - before, 0
    with Clock(redis, jobs) as clock:
        async for message in broker.listen():
            running.add(asyncio.create_task(receiver.callback(message)))
            begun += 1
            if len(running) == concurrency or begun == jobs:
                _, running = await asyncio.wait(
                    running, return_when=asyncio.ALL_COMPLETED if begun == jobs else asyncio.FIRST_COMPLETED
                )
            if begun == jobs:
                break
    await broker.shutdown()
    return {"submit": submit, "work": clock.timing, "bytes_a_job": held / jobs}


def with_rq(redis: Redis, jobs: int, payload: str) -> Report:
    """enqueue, then a burst of SimpleWorker; one at a time, as rq does."""
    queue = Queue(connection=redis)
    before = memory(redis)
    with Clock(redis, jobs) as clock:
        for _ in range(jobs):
            began = time.perf_counter()
            queue.enqueue("queue_rivals.nothing_at_all", payload)
            clock.took_s.append(time.perf_counter() - began)
    submit: Timing = clock.timing
    held = memory(redis) - before
    with Clock(redis, jobs) as clock:
        SimpleWorker([queue], connection=redis).work(burst=True, logging_level="ERROR")
    return {"submit": submit, "work": clock.timing, "bytes_a_job": held / jobs}


def main() -> None:
    """Measures all of them, one after the other, each on an empty Redis."""
    url, jobs, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    payload = sys.stdin.read()
    logging.disable(logging.CRITICAL)
    report = {}
    with Redis.from_url(url) as redis:
        for name, measure in (
            ("arq", lambda: asyncio.run(with_arq(redis, url, jobs, concurrency, payload))),
            ("taskiq", lambda: asyncio.run(with_taskiq(redis, url, jobs, payload, concurrency))),
            ("taskiq with results", lambda: asyncio.run(with_taskiq_results(redis, url, jobs, payload, concurrency))),
            ("rq", lambda: with_rq(redis, jobs, payload)),
        ):
            redis.flushall()
            report[name] = measure()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
