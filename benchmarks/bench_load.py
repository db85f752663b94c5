"""Weights: a cold pull from S3, a pull that was killed half-way, and the second start, which finds them in the cache.

A random model of `--size-mb` in diffusers' format, on a real S3 server (moto), which is one process of this machine.
Usage: python benchmarks/bench_load.py [--size-mb N]. Prints a table, writes build/bench/load.json.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

SHARD_MB = 128


def enlarge(model: Path, size_mb: int) -> None:
    """Adds shards of noise, which no cache or compression makes smaller."""
    noise = np.random.default_rng(0)
    for number in range(size_mb // SHARD_MB):
        tensor = noise.integers(0, 255, SHARD_MB << 20, dtype=np.uint8)
        save_file({"noise": tensor}, model / "transformer" / f"noise-{number}.safetensors")


class Bucket:
    """A real S3 server with the model in it."""

    def __init__(self, model: Path, secret: Path) -> None:
        command = [sys.executable, "-u", "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        endpoint = next(m[0] for line in self.process.stderr if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="weights")
        for file in (path for path in model.rglob("*") if path.is_file()):
            client.upload_file(str(file), "weights", f"model/{file.relative_to(model)}")
        secret.mkdir()
        options = keys | {"aws_endpoint": endpoint, "aws_region": "us-east-1", "allow_http": "true"}
        for name, text in options.items():
            (secret / name).write_text(text)


def command_of(folder: Path, cache: Path) -> list[str]:
    """One fetch."""
    command = [sys.executable, "-m", "videofleet_worker", "fetch", "--source=s3://weights/model"]
    command += [f"--secret={folder / 'secret'}", f"--cache={cache}", "--name=model"]
    command += ["--architecture=wan2.2-t2v-a14b"]
    return [*command, f"--termination-log={folder / 'termination'}"]


def seconds(command: list[str]) -> float:
    """Of one process that must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def drop_from_memory(folder: Path) -> None:
    """So that the next reader reads the disk."""
    for file in (path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as handle:
            os.fdatasync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def killed_half_way(folder: Path, cache: Path, total_bytes: int) -> None:
    """A fetch that dies with half of the bytes on the disk."""
    process = subprocess.Popen(command_of(folder, cache), stderr=subprocess.DEVNULL)
    staging = cache / ".partial" / "model"
    while sum(f.stat().st_blocks * 512 for f in staging.rglob("*") if f.is_file()) < total_bytes / 2:
        if process.poll() is not None:
            raise RuntimeError("the fetch was faster than its killer; use a larger --size-mb")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def measure(folder: Path, size_mb: int, tiny: Path) -> dict[str, Any]:
    """Seconds by what was done."""
    model = Path(shutil.copytree(tiny, folder / "model"))
    enlarge(model, size_mb)
    total = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    bucket = Bucket(model, folder / "secret")
    shutil.rmtree(model)
    cache, other = folder / "cache", folder / "other"
    took = {}
    try:
        took["cold pull"] = seconds(command_of(folder, cache))
        drop_from_memory(cache)
        took["second start, from disk"] = seconds(command_of(folder, cache))
        took["third start, from memory"] = seconds(command_of(folder, cache))
        killed_half_way(folder, other, total)
        took["pull again after a kill half-way"] = seconds(command_of(folder, other))
        shutil.rmtree(other)
        weights = next((cache / "model" / "transformer").glob("noise-*"))
        weights.chmod(0o644)
        with weights.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x01")
        took["one flipped byte: found, its file pulled again"] = seconds(command_of(folder, cache))
    finally:
        bucket.process.kill()
        bucket.process.wait()
    return {"bytes": total, "seconds": took}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--model", type=Path, default=Path("build/models/tiny-a14b"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.size_mb, options.model)
    cold = found["seconds"]["cold pull"]
    out = Path("build/bench/load.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"bench": "load"} | found, indent=2))
    table = Table(title=f"weights, {found['bytes'] / 1e9:.2f} GB, S3 on this machine, {os.cpu_count()} cores")
    for column in ("what", "s", "GB/s", "faster than the cold pull"):
        table.add_column(column)
    for what, took in found["seconds"].items():
        table.add_row(what, f"{took:.2f}", f"{found['bytes'] / took / 1e9:.2f}", f"{cold / took:.1f} ×")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
