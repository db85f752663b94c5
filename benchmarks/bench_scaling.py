"""The goals of scaling and fallback, on paper: the operator's own planners beside KEDA+HPA and the clairvoyant bound.

Usage: python benchmarks/bench_scaling.py [--trace CSV]. Knobs are tuned on the first days and judged on the others.
Prints tables, writes build/bench/scaling.json. Without a trace the load is made up in its shape.
"""

import argparse
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from videofleet_cli.simulator.baselines import Keda
from videofleet_cli.simulator.engine import Fleet
from videofleet_cli.simulator.figures import Figures, figures, percentile
from videofleet_cli.simulator.lineup import Scene, clairvoyant, ours, run
from videofleet_cli.simulator.orders import Orders, View
from videofleet_cli.simulator.ours import VideoFleet
from videofleet_cli.simulator.synthetic import synthetic
from videofleet_cli.simulator.workload import DAY_S, Job, at_load, read_trace
from videofleet_cli.simulator.world import Account, World
from videofleet_operator.plan.scaling import ScalingRules

WORKERS, COLD_START_S, TARGET_WAIT_S = 8, 180.0, 120.0
DRAWS = 24  # of the overload
LAST_TUNING_DAY, FIRST_JUDGED_DAY = "2024-11-23", "2024-11-24"
KEDA_POINTS = (0.5, 1.0, 2.0)
KEDA_CURVE = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0)
KNOBS = tuple(itertools.product((60, 120, 240, 480), (60, 120, 300), (60, 900, 1800)))  # targetWait, down, to zero; s
console = Console(width=150)


def scene(jobs: Sequence[Job], knobs: tuple[int, int, int] = (120, 120, 1800)) -> Scene:
    """The fleet of the goals: 8 workers, 3 minutes of cold start."""
    return Scene(jobs, World(WORKERS, COLD_START_S), 1, ScalingRules(0, WORKERS, *knobs))


def days(trace: Path | None) -> tuple[list[Job], list[Job]]:
    """Tuning days and judged days."""
    if trace is not None:
        return read_trace(trace, last_day=LAST_TUNING_DAY), read_trace(trace, first_day=FIRST_JUDGED_DAY)
    jobs = synthetic(14, seed=1)
    return [job for job in jobs if job.at_s < 7 * DAY_S], [job for job in jobs if job.at_s >= 7 * DAY_S]


def trace_rows(trace: Path | None) -> list[dict[str, Any]]:
    """Three points of equal GPU-hours, at two loads, without fallback and with it."""
    rows = []
    for load, with_fallback in itertools.product((0.7, 1.0), (False, True)):
        tuning, judged = (at_load(part, load, WORKERS) for part in days(trace))
        candidates = [(knobs, own(tuning, knobs, with_fallback)) for knobs in KNOBS]
        curve = [run(scene(judged), Keda(target, 0, WORKERS)) for target in KEDA_CURVE]
        bound_s = clairvoyant(scene(judged)).wait_p95_s
        for target in KEDA_POINTS:
            budget = run(scene(tuning), Keda(target, 0, WORKERS)).gpu_hours
            knobs = min((c for c in candidates if c[1].gpu_hours <= budget), key=lambda c: c[1].wait_p95_s)[0]
            seen = own(judged, knobs, with_fallback)
            keda_s = at_hours(curve, seen.gpu_hours)
            rows.append(
                {
                    "load": load,
                    "fallback": with_fallback,
                    "keda_target": target,
                    "knobs": knobs,
                    "gpu_hours": seen.gpu_hours,
                    "wait_p95_s": seen.wait_p95_s,
                    "keda_p95_s": keda_s,
                    "bound_p95_s": bound_s,
                    "gap_closed": (keda_s - seen.wait_p95_s) / max(1.0, keda_s - bound_s),
                    "quality": seen.quality,
                }
            )
    return rows


def own(jobs: Sequence[Job], knobs: tuple[int, int, int], with_fallback: bool) -> Figures:
    """VideoFleet with these knobs."""
    set_up = scene(jobs, knobs)
    return run(set_up, ours(set_up, with_fallback=with_fallback, name="VideoFleet"))


def at_hours(curve: Sequence[Figures], hours: float) -> float:
    """KEDA's p95 wait at as many GPU-hours: between its two nearest targets, or at the nearest end."""
    points = sorted((one.gpu_hours, one.wait_p95_s) for one in curve)
    for (low, first), (high, second) in itertools.pairwise(points):
        if low <= hours <= high:
            return first + (second - first) * (hours - low) / (high - low)
    return points[0][1] if hours < points[0][0] else points[-1][1]


def steady(rates: Sequence[tuple[float, float]], seed: int) -> list[Job]:
    """Poisson arrivals: for so many seconds, work for so many workers; execution times as in the trace."""
    draw = random.Random(seed)
    jobs, start_s = [], 0.0
    pool = synthetic(2, seed)
    for lasts_s, workers in rates:
        now_s = start_s
        while (now_s := now_s + draw.expovariate(workers / 28.7)) < start_s + lasts_s:
            jobs.append(replace(draw.choice(pool), at_s=now_s))
        start_s += lasts_s
    return jobs


def overload() -> dict[str, Any]:
    """Twice as much as all workers can do, for two hours, between two quiet ones; the mean of the draws."""
    rows = [overloaded(seed) for seed in range(3, 3 + DRAWS)]
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    return mean | {
        "times_lower": mean["degradable_p95_without_s"] / max(1.0, mean["degradable_p95_s"]),
        "moves_per_5_min_worst": max(row["moves_per_5_min"] for row in rows),
        "most_workers": min(row["most_workers"] for row in rows),
    }


def overloaded(seed: int) -> dict[str, float]:
    """One draw."""
    jobs = steady([(3600, 0.3 * WORKERS), (7200, 2.0 * WORKERS), (3600, 0.3 * WORKERS)], seed)
    set_up = scene(jobs)
    account = Fleet(set_up.jobs, set_up.world, ours(set_up, with_fallback=True, name="with fallback")).run()
    lowered = figures("with fallback", account, TARGET_WAIT_S, 1)
    plain = run(set_up, ours(set_up, with_fallback=False, name="without"))
    return {
        "degradable_p95_s": lowered.degradable_wait_p95_s,
        "degradable_p95_without_s": plain.degradable_wait_p95_s,
        "protected_at_full_tier": lowered.protected_full,
        "moves_per_5_min": lowered.moves_per_5_min,
        "most_workers": account.most_pods,
        "quality": lowered.quality,
    }


def surge() -> dict[str, Any]:
    """Five times the usual for ten minutes; the usual keeps two of eight workers busy."""
    rows = {}
    for with_fallback in (False, True):
        jobs = steady([(7200, 2.0), (600, 10.0), (7200, 2.0)], seed=5)
        set_up = scene(jobs)
        account = Fleet(jobs, set_up.world, ours(set_up, with_fallback=with_fallback, name="")).run()
        rows["with fallback" if with_fallback else "without"] = {
            "accepted": len(jobs),
            "delivered": len({id(ran.job) for ran in account.ran}),
            "restored_after_surge_s": restored_s(account, 7200, 7800),
            "allowed_s": COLD_START_S + 300,
        }
    return rows


def restored_s(account: Account, began_s: int, ended_s: int) -> float:
    """Seconds from the end of the surge until nine and a half of ten jobs of five minutes waited under target again."""
    for start_s in range(began_s, ended_s + 7200, 30):
        waits = sorted(ran.wait_s for ran in account.ran if start_s <= ran.job.at_s < start_s + 300)
        if start_s >= began_s + 60 and percentile(waits, 95) <= TARGET_WAIT_S:
            return start_s - ended_s
    return float("inf")


class Churn(VideoFleet):
    """The real handshake towards a number that changes every 30 s."""

    def __init__(self, rules: ScalingRules) -> None:
        super().__init__(rules, name="handshake")
        self._draw, self._next_s, self._desired = random.Random(7), 0.0, 4
        self.every_s = 5.0

    def look(self, view: View, now_s: float) -> Orders:
        """Drains towards the number of the moment."""
        if now_s >= self._next_s:
            self._next_s, self._desired = now_s + 30, self._draw.randint(1, WORKERS)
        return self._drained(self._desired, view, now_s)


class BlindChurn:
    """The same numbers, set at once: the ReplicaSet chooses who goes."""

    name, every_s = "replicas set at once", 5.0

    def __init__(self) -> None:
        self._draw, self._next_s, self._desired = random.Random(7), 0.0, 4

    def look(self, view: View, now_s: float) -> Orders:
        """The number of the moment."""
        if now_s >= self._next_s:
            self._next_s, self._desired = now_s + 30, self._draw.randint(1, WORKERS)
        return Orders(self._desired)


def churn() -> dict[str, Any]:
    """10,000 jobs of 30 to 900 s while the wanted number changes every 30 s, with Kubernetes' default grace period."""
    draw = random.Random(11)
    jobs = [Job(90.0 * number, draw.uniform(30, 900), "t", draw.randrange(3), False) for number in range(10_000)]
    world = World(WORKERS, COLD_START_S, grace_s=30.0)
    rules = ScalingRules(0, WORKERS, TARGET_WAIT_S, 120, 1800)
    handshake = Fleet(jobs, world, Churn(rules)).run()
    blind = Fleet(jobs, world, BlindChurn()).run()
    return {
        "jobs": len(jobs),
        "killed": handshake.killed,
        "scalings": handshake.scalings,
        "killed_without_handshake": blind.killed,
        "delivered": len(handshake.ran),
    }


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path)
    found = parser.parse_args()
    result = {"trace": trace_rows(found.trace), "overload": overload(), "surge": surge(), "churn": churn()}
    table = Table(
        *("load", "fallback", "KEDA target", "knobs", "GPU-h", "p95", "KEDA p95", "bound", "gap closed", "quality")
    )
    for row in result["trace"]:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    for name in ("overload", "surge", "churn"):
        console.print(name, json.dumps(result[name], indent=1))
    target = Path("build/bench/scaling.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
