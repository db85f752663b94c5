"""From `abort` to the last job that a canary is given: the real operator, API server and Redis, jobs without end.

Usage: python benchmarks/bench_abort.py [--fleets N]. Prints a table, writes build/bench/abort.json.
"""

import argparse
import asyncio
import copy
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_operator import NAMESPACE, SPEC, Cluster, until
from rich.console import Console
from rich.table import Table

from videofleet import ids
from videofleet.jobs import NewJob, VideoRequest
from videofleet.queue import JobQueue
from videofleet_devcluster.apiserver.server import ApiServer
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.paths import collection, item

GOAL_MS = 2000
QUIET_S = 1.0  # without a job for the canary: that was the last one


class Fleet:
    """One fleet with a canary that gets half of the jobs."""

    def __init__(self, cluster: Cluster, queue: JobQueue, number: int) -> None:
        self.cluster, self.queue, self.name = cluster, queue, f"fleet-{number:04}"
        self.uid = self.canary = ""
        self.last_job = 0.0

    async def begin(self) -> None:
        """Made, and on trial."""
        spec = copy.deepcopy(SPEC) | {"rollout": {"steps": [{"weight": "50%"}]}}
        made = {"apiVersion": "videofleet.dev/v1alpha1", "kind": "VideoGenerator", "metadata": {"name": self.name}}
        await self.cluster.kube.send("POST", collection("VideoGenerator", NAMESPACE), body=made | {"spec": spec})
        await until(lambda: self.is_in("Settled"))
        await self.patch({"spec": {"model": {"source": "pvc://models/new"}}})
        await until(lambda: self.is_in("Stepping"))
        self.uid = str((await self.get())["metadata"]["uid"])
        self.canary = str((await self.get())["status"]["rollout"]["canaryRevision"])
        await until(self.has_canary)

    async def get(self) -> dict[str, Any]:
        """The VideoGenerator."""
        return await self.cluster.kube.get(item("VideoGenerator", NAMESPACE, self.name))

    async def patch(self, change: dict[str, Any]) -> None:
        """Merges a change."""
        await self.cluster.kube.merge(item("VideoGenerator", NAMESPACE, self.name), change)

    async def is_in(self, phase: str) -> bool:
        """Whether the rollout is in this phase."""
        return bool((await self.get()).get("status", {}).get("rollout", {}).get("phase") == phase)

    async def has_canary(self) -> bool:
        """Whether the policy names it."""
        policy = await self.queue.policy(self.uid)
        return policy is not None and policy.canary is not None

    async def work(self) -> None:
        """A client that submits, and a canary worker that takes what it is given."""
        policy = await self.queue.policy(self.uid)
        assert policy is not None
        while True:
            job_id = ids.job_id(self.uid, time.time_ns() // 1_000_000, os.urandom(10))
            request = VideoRequest(prompt="p", seed=1, tier=policy.tiers[0])
            await self.queue.submit(NewJob(id=job_id, fleet_uid=self.uid, tenant="bench", request=request))
            if (await self.queue.claim(self.uid, worker="bench", revision=self.canary)).claims:
                self.last_job = time.monotonic()
            await asyncio.sleep(0.01)

    async def abort_ms(self) -> float:
        """From the answer to the annotation until the last job."""
        working = asyncio.create_task(self.work())
        await until(lambda: self.last_job)
        await self.patch({"metadata": {"annotations": {"videofleet.dev/rollout": f"abort:{self.canary}"}}})
        asked = time.monotonic()
        await until(lambda: time.monotonic() - max(self.last_job, asked) > QUIET_S)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return 1000 * max(0.0, self.last_job - asked)


async def run(fleets: int) -> list[float]:
    """Milliseconds of each abort, sorted."""
    with tempfile.TemporaryDirectory() as name:
        folder, api = Path(name), await ApiServer().start()
        os.environ["KUBECONFIG"] = str(api.kubeconfig(folder / "kubeconfig"))
        async with await KubeClient.connect() as kube:
            cluster = Cluster(folder, api, kube)
            pods = asyncio.create_task(cluster.run_pods())
            try:
                cluster.start_redis()
                await cluster.install()
                cluster.start_operator()
                async with JobQueue.connect(f"redis://127.0.0.1:{cluster.redis_port}/0", "bench") as queue:
                    return sorted([await aborted(Fleet(cluster, queue, number)) for number in range(fleets)])
            finally:
                pods.cancel()
                await asyncio.gather(pods, return_exceptions=True)
                cluster.stop()
                await api.stop()


async def aborted(fleet: Fleet) -> float:
    """One whole story."""
    await fleet.begin()
    return await fleet.abort_ms()


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=100)
    options = parser.parse_args()
    took = asyncio.run(run(options.fleets))
    figures = {share: took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.99)}
    report = {"bench": "abort", "fleets": options.fleets, "p50_ms": figures[0.5], "p99_ms": figures[0.99]}
    out = Path("build/bench/abort.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(title=f"abort → last job of the canary, {options.fleets} times")
    for column in ("p50, ms", "p99, ms", "goal for p99"):
        table.add_column(column)
    table.add_row(f"{figures[0.5]:.0f}", f"{figures[0.99]:.0f}", f"≤ {GOAL_MS}")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
