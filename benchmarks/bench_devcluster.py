"""The development cluster at scale: memory, writes a second, watch delivery, start and stop, against the goals.

Usage: python benchmarks/bench_devcluster.py [--fleets N] [--pods N] [--deployments N]. No pod runs a process.
Ten pods of each Deployment come by way of the controllers; the rest is created on the fake node, which is faster.
Prints a table, writes build/bench/devcluster.json. The cluster is a process of its own; this one is its only client.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from videofleet_devcluster import daemon
from videofleet_devcluster.client import CONFIG_MAPS, DEPLOYMENTS, PODS, ApiClient, ApiError, Resource, connected

ROOT = Path(__file__).parent.parent
NAMESPACES = Resource("v1", "namespaces", "Namespace", namespaced=False)
DEFINITIONS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", False)
FLEETS = Resource("videofleet.dev/v1alpha1", "videogenerators", "VideoGenerator")
GOALS = {
    "memory at its peak": (1024.0, "MiB", "at most"),
    "writes": (500.0, "a second", "at least"),
    "watch delivery p99": (50.0, "ms", "at most"),
    "start": (1.0, "s", "at most"),
}


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    fleets: int
    pods: int
    deployments: int
    replicas: int = 10
    concurrency: int = 16


async def timed(count: int, concurrency: int, call: Callable[[int], Awaitable[object]]) -> float:
    """Calls with 0 … count-1, so many at a time; calls a second."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return count / (time.perf_counter() - began)


def deployment(number: int, replicas: int) -> dict[str, Any]:
    """A Deployment as the operator makes it for a revision, with the spec of a usual worker."""
    labels = {"app.kubernetes.io/name": "videofleet-worker", "videofleet.dev/fleet": f"fleet-{number}"}
    mounts = [{"name": name, "mountPath": f"/etc/videofleet/{name}"} for name in ("revision", "redis", "stores")]
    container = {
        "name": "worker",
        "image": "registry.example/videofleet-worker:0.1.0",
        "command": ["videofleet-worker"],
        "args": [f"--{name}=/etc/videofleet/{name}" for name in ("spec", "redis-url-file", "store", "model")],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8081}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 5},
        "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "1", "memory": "8Gi"}},
        "volumeMounts": mounts,
    }
    volumes = [{"name": mount["name"], "configMap": {"name": "nothing"}} for mount in mounts]
    pod = {"containers": [container], "volumes": volumes, "automountServiceAccountToken": False}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": f"fleet-{number}", "namespace": "default", "labels": labels}, "spec": spec}


async def fill(client: ApiClient, scale: Scale) -> dict[str, float]:
    """The fleets, and Deployments until there are enough ready pods."""
    await client.create(DEFINITIONS, yaml.safe_load((ROOT / "crds/videogenerators.yaml").read_text()))
    example = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())

    async def create_fleet(number: int) -> None:
        metadata = {"name": f"fleet-{number}", "namespace": "default"}
        await client.create(FLEETS, example | {"metadata": metadata})

    fleets = await timed(scale.fleets, scale.concurrency, create_fleet)
    return {
        "fleets a second": fleets,
        "pods of Deployments ready a second": await fill_deployments(client, scale),
        "pods on the node ready a second": await fill_node(client, scale),
    }


async def fill_deployments(client: ApiClient, scale: Scale) -> float:
    """Deployments; pods ready a second."""
    began = time.perf_counter()
    await timed(
        scale.deployments, scale.concurrency, lambda n: client.create(DEPLOYMENTS, deployment(n, scale.replicas))
    )
    await until_ready(client, scale.deployments)
    return scale.deployments * scale.replicas / (time.perf_counter() - began)


async def fill_node(client: ApiClient, scale: Scale) -> float:
    """Pods in a namespace of their own, bound when they are created; how many a second."""
    await client.create(NAMESPACES, {"metadata": {"name": "bench"}})
    count = scale.pods - scale.deployments * scale.replicas
    began = time.perf_counter()

    async def create(number: int) -> None:
        template = deployment(number % scale.fleets, 1)["spec"]["template"]
        metadata = template["metadata"] | {"name": f"pod-{number}", "namespace": "bench"}
        await client.create(PODS, {"metadata": metadata, "spec": template["spec"] | {"nodeName": "videofleet-dev"}})

    await timed(count, scale.concurrency, create)
    waiting = {"fieldSelector": "status.phase=Pending"}
    while (await client.list(PODS, "bench", **waiting))["items"]:  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.2)
    return count / (time.perf_counter() - began)


async def until_ready(client: ApiClient, deployments: int) -> None:
    """Returns when every Deployment has all its pods available."""
    ready: set[str] = set()
    listed = await client.list(DEPLOYMENTS, "default")
    ready.update(obj["metadata"]["name"] for obj in listed["items"] if is_available(obj))
    version = listed["metadata"]["resourceVersion"]
    async for event in client.watch(DEPLOYMENTS, "default", resourceVersion=version):
        if event["type"] in ("ADDED", "MODIFIED") and is_available(event["object"]):
            ready.add(event["object"]["metadata"]["name"])
        if len(ready) == deployments:
            return


def is_available(deployment: dict[str, Any]) -> bool:
    """Whether all wanted pods are available."""
    return bool((deployment.get("status") or {}).get("availableReplicas") == deployment["spec"]["replicas"])


async def some_pods(client: ApiClient) -> list[str]:
    """Names of pods to write to."""
    return [pod["metadata"]["name"] for pod in (await client.list(PODS, "default"))["items"][:500]]


async def writes(client: ApiClient, count: int, concurrency: int) -> dict[str, float]:
    """Creates, status patches and deletes in the full cluster."""
    names = await some_pods(client)

    async def create(number: int) -> None:
        metadata = {"name": f"bench-{number}", "namespace": "default"}
        await client.create(CONFIG_MAPS, {"metadata": metadata, "data": {"worker.json": "x" * 1000}})

    async def patch(number: int) -> None:
        condition = [{"type": "videofleet.dev/Bench", "status": "True", "message": str(number)}]
        name = names[number % len(names)]
        await client.patch(PODS, "default", name, {"status": {"message": str(condition)}}, "status")

    async def delete(number: int) -> None:
        await client.delete(CONFIG_MAPS, "default", f"bench-{number}")

    return {
        "create ConfigMap": await timed(count, concurrency, create),
        "patch pod status": await timed(count, concurrency, patch),
        "delete ConfigMap": await timed(count, concurrency, delete),
    }


async def delivery(client: ApiClient, count: int, every_s: float) -> list[float]:
    """Milliseconds from sending a write until a watcher has its event, sorted; a write every `every_s`."""
    sent: dict[str, float] = {}
    took: list[float] = []
    version = (await client.list(CONFIG_MAPS, "default"))["metadata"]["resourceVersion"]

    async def watch() -> None:
        async for event in client.watch(CONFIG_MAPS, "default", resourceVersion=version):
            if event["type"] == "ADDED":
                took.append((time.perf_counter() - sent[event["object"]["metadata"]["name"]]) * 1000)
                if len(took) == count:
                    return

    watching = asyncio.create_task(watch())
    for number in range(count):
        name = f"delivery-{number}"
        sent[name] = time.perf_counter()
        await client.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
        await asyncio.sleep(every_s)  # the pace is what is asked for, not a wait for something
    await asyncio.wait_for(watching, 60)
    return sorted(took)


async def churn(client: ApiClient, names: list[str], stop: asyncio.Event) -> int:
    """Writes to pods without pause until told to stop, as controllers do; how many."""
    count = 0
    while not stop.is_set():
        patch = {"metadata": {"annotations": {"bench": str(count)}}}
        try:
            await client.patch(PODS, "default", names[count % len(names)], patch)
        except ApiError:
            continue
        count += 1
    return count


async def delivery_under_load(client: ApiClient, count: int) -> tuple[list[float], float]:
    """Delivery while another writer goes as fast as it can; its writes a second."""
    names = await some_pods(client)
    stop, began = asyncio.Event(), time.perf_counter()
    load = asyncio.create_task(churn(client, names, stop))
    took = await delivery(client, count, every_s=0.01)
    stop.set()
    return took, await load / (time.perf_counter() - began)


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


async def measure(kubeconfig: Path, pid: int, scale: Scale) -> dict[str, Any]:
    """Everything that needs a running cluster."""
    async with connected(kubeconfig) as client:
        empty = memory_mib(pid)
        filled = await fill(client, scale)
        rates = await writes(client, 2000, scale.concurrency)
        began = time.perf_counter()
        listed = await client.list(PODS)
        list_s = time.perf_counter() - began
        took, load = await delivery_under_load(client, 1000)
    return {
        "pods listed": len(listed["items"]),
        "list of all pods s": list_s,
        "memory MiB": {"empty": empty, "full": memory_mib(pid), "peak": memory_mib(pid, "VmHWM")},
        "filling": filled,
        "writes a second": rates,
        "watch delivery ms": {"p50": took[len(took) // 2], "p99": took[int(len(took) * 0.99)], "max": took[-1]},
        "writes a second beside it": load,
    }


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[daemon.State, dict[str, float]]]:
    """A cluster with a fake node; the seconds that it took to start and, afterwards, to stop."""
    times: dict[str, float] = {}
    began = time.perf_counter()
    state = daemon.start(folder, folder / "models", gpus=60000, fake_ready_after_s=0.1)
    times["start"] = time.perf_counter() - began
    try:
        yield state, times
    finally:
        began = time.perf_counter()
        daemon.stop(folder)
        times["stop"] = time.perf_counter() - began


def against_goals(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal with what was measured; a ratio above 1 is better than the goal."""
    measured = {
        "memory at its peak": results["memory MiB"]["peak"],
        "writes": min(results["writes a second"].values()),
        "watch delivery p99": results["watch delivery ms"]["p99"],
        "start": results["seconds"]["start"],
    }
    rows = {}
    for name, (goal, unit, sense) in GOALS.items():
        ratio = goal / measured[name] if sense == "at most" else measured[name] / goal
        rows[name] = {"measured": measured[name], "goal": goal, "unit": unit, "sense": sense, "ratio to goal": ratio}
    return rows


def main() -> None:
    """Starts a cluster, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--deployments", type=int, default=200)
    given = parser.parse_args()
    scale = Scale(given.fleets, given.pods, given.deployments)
    with tempfile.TemporaryDirectory() as folder:
        with cluster(Path(folder) / "dev") as (state, times):
            results = asyncio.run(measure(Path(state.kubeconfig), state.pid, scale))
        results["seconds"] = times
    goals = against_goals(results)
    report = {"bench": "devcluster", "fleets": scale.fleets, "pods": scale.pods, "processors": os.cpu_count()}
    out = ROOT / "build/bench/devcluster.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report | {"goals": goals, "results": results}, indent=2))
    show(scale, goals, results)


def show(scale: Scale, goals: dict[str, dict[str, Any]], results: dict[str, Any]) -> None:
    """The table, and what has no goal below it."""
    title = f"dev cluster, {scale.fleets} VideoGenerators, {scale.pods} fake pods, {os.cpu_count()} processors"
    table = Table(title=title)
    for column in ("what", "measured", "goal", "ratio to goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, row in goals.items():
        goal = f"{row['sense']} {row['goal']:,.0f} {row['unit']}"
        table.add_row(name, f"{row['measured']:,.2f}", goal, f"{row['ratio to goal']:.2f}")
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    console.print_json(json.dumps(results))


if __name__ == "__main__":
    main()
