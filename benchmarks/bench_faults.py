"""How soon a fleet's status names what is wrong with it: one fault after another, on the development cluster.

Usage: python benchmarks/bench_faults.py [--only NAME …]. Needs kubectl on PATH. Prints a table, writes
build/bench/faults.json. The clock starts when the fault is there: the manifest is applied, its own limit is over, the
worker is killed, Redis stops. Workers are real, so most of it is theirs: two processes that import torch and find it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from broken_fleets import FAULTS, Wrong, apply, condition, damaged_models, fleet, furnish, model
from rich.console import Console
from rich.table import Table

from videofleet_cli.demo import cluster

GOAL_S = 10
WITHIN_S = 120
LOOK_EVERY_S = 0.2  # a kubectl costs 0.1 s of a core
STEPS = {"rollout": {"steps": [{"weight": "50%"}]}}
LIMITS_S = {"slow": 10.0}  # spec.warmup.timeout: before it, nothing is wrong


@dataclass(frozen=True)
class System:
    """The cluster as its user has it."""

    folder: Path
    running: cluster.Running

    def videofleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the CLI."""
        command = (sys.executable, "-m", "videofleet_cli.main", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl, returns what it printed. Raises: CalledProcessError."""
        command = ("kubectl", f"--kubeconfig={self.running.kubeconfig}", *arguments)
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def pids(self, program: str) -> list[int]:
        """Of this cluster."""
        place = str(self.folder)
        return [
            process.pid
            for process in psutil.process_iter(["cmdline", "cwd"])
            if any(program in word for word in (process.info["cmdline"] or [])[:2])
            and place in " ".join([process.info["cwd"] or "", *process.info["cmdline"]])
        ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of faults")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder, furnished(Path(folder)) as system:
        healthy_s = became(system, "healthy", "WorkersReady", lambda: apply(system, fleet("healthy", {}), "default"))
        gone(system, "healthy")
        figures = {}
        for name, told in stories(system):
            if not only or name in only:
                figures[name] = told()
                print(name, *figures[name], file=sys.stderr)
    report = {"bench": "faults", "goal_s": GOAL_S, "healthy_s": healthy_s, "seconds": figures}
    out = Path("build/bench/faults.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(title=f"from the fault to its reason in status; a healthy fleet is ready after {healthy_s:.1f} s")
    for column in ("fault", "reason", "seconds", "goal"):
        table.add_column(column)
    for name, (reason, took_s) in figures.items():
        table.add_row(name, reason, f"{took_s:.1f}", "met" if took_s <= GOAL_S else f"MISSED (≤ {GOAL_S})")
    Console(file=sys.stdout).print(table)


@contextmanager
def furnished(folder: Path) -> Iterator[System]:
    """An installation over the namespaces of the faults."""
    (folder / "models").mkdir()
    models = damaged_models(folder / "models")
    running = cluster.start(folder / "dev", models)
    try:
        system = System(folder, running)
        furnish(system, running, models)
        yield system
    finally:
        running.stop()


def stories(system: System) -> Iterator[tuple[str, Callable[[], tuple[str, float]]]]:
    """Name of each fault, and what makes it and takes its time."""
    for wrong in FAULTS:
        yield wrong.name, lambda wrong=wrong: applied(system, wrong)
    yield "canary", lambda: bad_canary(system)
    yield "dying", lambda: crash_loop(system)
    yield "redis", lambda: dead_redis(system)


def applied(system: System, wrong: Wrong) -> tuple[str, float]:
    """A manifest that cannot work."""
    manifest = fleet(wrong.name, wrong.spec)
    took_s = became(
        system, wrong.name, wrong.reason, lambda: apply(system, manifest, wrong.namespace), namespace=wrong.namespace
    )
    gone(system, wrong.name, wrong.namespace)
    return wrong.reason, took_s - LIMITS_S.get(wrong.name, 0.0)


def bad_canary(system: System) -> tuple[str, float]:
    """A revision whose weights are NaN, beside one that serves."""
    became(system, "canary", "WorkersReady", lambda: apply(system, fleet("canary", STEPS), "default"))
    damaged = fleet("canary", STEPS | model("nan"))
    took_s = became(system, "canary", "CanaryRejected", lambda: apply(system, damaged, "default"), type_="Degraded")
    gone(system, "canary")
    return "CanaryRejected", took_s


def crash_loop(system: System) -> tuple[str, float]:
    """A worker that is killed whenever it is there; from the last of the kills that it takes."""
    apply(system, fleet("dying", {}), "default")
    began, killed_at = time.monotonic(), time.monotonic()
    while condition(system, "dying", "Ready").get("reason") != "CrashLoop":
        if time.monotonic() - began > WITHIN_S:
            raise TimeoutError("no crash loop")
        for pid in system.pids("videofleet-worker"):
            os.kill(pid, signal.SIGKILL)
            killed_at = time.monotonic()
        time.sleep(0.05)
    took_s = time.monotonic() - killed_at
    gone(system, "dying")
    return "CrashLoop", took_s


def dead_redis(system: System) -> tuple[str, float]:
    """Redis that neither answers nor closes."""
    became(system, "left", "WorkersReady", lambda: apply(system, fleet("left", {}), "default"))
    (redis,) = system.pids("redis-server")
    try:
        took_s = became(system, "left", "QueueUnreachable", lambda: os.kill(redis, signal.SIGSTOP), type_="Degraded")
    finally:
        os.kill(redis, signal.SIGCONT)
    gone(system, "left")
    return "QueueUnreachable", took_s


def became(
    system: System,
    name: str,
    reason: str,
    begin: Callable[[], object],
    *,
    namespace: str = "default",
    type_: str = "Ready",
) -> float:
    """Seconds from the end of `begin` until the condition has the reason. Raises: TimeoutError."""
    begin()
    began = time.monotonic()
    while (seen := condition(system, name, type_, namespace)).get("reason") != reason:
        if time.monotonic() - began > WITHIN_S:
            raise TimeoutError(f"{name}: not {reason} but {seen}")
        time.sleep(LOOK_EVERY_S)
    return time.monotonic() - began


def gone(system: System, name: str, namespace: str = "default") -> None:
    """Deleted, and its workers ended."""
    system.kubectl("delete", "vg", name, "-n", namespace)
    began = time.monotonic()
    while system.pids("videofleet-worker"):
        if time.monotonic() - began > WITHIN_S:
            raise TimeoutError(f"{name}: its workers are still there")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
