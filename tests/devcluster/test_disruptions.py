"""Pods that have to leave: nodes that fall silent or are deleted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from videofleet_devcluster.client import DEPLOYMENTS, NODES, PODS
from videofleet_devcluster.cluster import DevCluster, Options
from videofleet_devcluster.node.agent import Node
from videofleet_devcluster.objects import is_deleting, is_true
from videofleet_devcluster.processes import Processes

SLEEP = ["python3", "-c", "import time; time.sleep(600)"]


@pytest.fixture
async def two_nodes(request: pytest.FixtureRequest, tmp_path: Path, world_of: Any) -> AsyncIterator[Any]:
    """Nodes are given up after the parameter's seconds: few for what is about that, else more than a machine stalls."""
    options = Options(models=tmp_path / "models", nodes=2, gpus=1, node_grace_s=getattr(request, "param", 12))
    async with DevCluster(tmp_path / "dev", options) as cluster:
        yield world_of(cluster, tmp_path / "dev")


def deployment(replicas: int, **pod: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "command": SLEEP}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False} | pod
    labels = {"app": "d"}
    return {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }


async def ready_pods(world: Any) -> list[dict[str, Any]]:
    found = await world.client.list(PODS, "default", labelSelector="app=d")
    return [pod for pod in found["items"] if is_true(pod, "Ready") and not is_deleting(pod)]


async def until_ready(world: Any, count: int) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]] | None:
        pods = await ready_pods(world)
        return pods if len(pods) == count else None

    found: list[dict[str, Any]] = await world.until(enough)
    return found


@pytest.mark.parametrize("two_nodes", [2], indirect=True)
async def test_a_silent_node_is_given_up_its_pods_replaced_and_taken_back_when_it_returns(
    two_nodes: Any, tmp_path: Path
) -> None:
    tolerations = [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]
    third = {"kubernetes.io/hostname": "third"}
    client = two_nodes.client
    async with Processes() as processes:
        first = asyncio.create_task(Node(client, processes, "third", tmp_path / "third", beat_s=0.5).run())
        await two_nodes.create(DEPLOYMENTS, "d", spec=deployment(1, nodeSelector=third, tolerations=tolerations))
        (pod,) = await until_ready(two_nodes, 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        async def lost() -> bool:
            node = await client.get(NODES, "", "third")
            keys = [taint["key"] for taint in node["spec"].get("taints", [])]
            return not is_true(node, "Ready") and "node.kubernetes.io/unreachable" in keys

        await two_nodes.until(lost)
        leaving = await two_nodes.until_pod(pod["metadata"]["name"], is_deleting)
        assert not is_true(leaving, "Ready")
        second = asyncio.create_task(Node(client, processes, "third", tmp_path / "third", beat_s=0.5).run())
        (replacement,) = await until_ready(two_nodes, 1)
        assert replacement["metadata"]["uid"] != pod["metadata"]["uid"]
        await two_nodes.until_gone(PODS, pod["metadata"]["name"])

        async def welcome() -> bool:
            return not (await client.get(NODES, "", "third"))["spec"].get("taints")

        await two_nodes.until(welcome)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


async def test_a_deleted_node_registers_again_and_keeps_its_pods(two_nodes: Any) -> None:
    other = {"kubernetes.io/hostname": "videofleet-dev-2"}
    await two_nodes.create(DEPLOYMENTS, "d", spec=deployment(1, nodeSelector=other))
    (pod,) = await until_ready(two_nodes, 1)
    first = await two_nodes.client.get(NODES, "", "videofleet-dev-2")
    await two_nodes.client.delete(NODES, "", "videofleet-dev-2")

    async def is_back() -> bool:
        found = (await two_nodes.client.list(NODES))["items"]
        uids = [node["metadata"]["uid"] for node in found if node["metadata"]["name"] == "videofleet-dev-2"]
        return uids not in ([], [first["metadata"]["uid"]])

    await two_nodes.until(is_back)
    assert [each["metadata"]["uid"] for each in await ready_pods(two_nodes)] == [pod["metadata"]["uid"]]


@pytest.mark.parametrize("two_nodes", [2], indirect=True)
async def test_pods_of_a_node_that_was_deleted_for_good_go_with_it(two_nodes: Any, tmp_path: Path) -> None:
    async with Processes() as processes:
        node = asyncio.create_task(Node(two_nodes.client, processes, "third", tmp_path / "third", beat_s=0.5).run())
        third = {"kubernetes.io/hostname": "third"}
        await two_nodes.create(DEPLOYMENTS, "d", spec=deployment(1, nodeSelector=third))
        (pod,) = await until_ready(two_nodes, 1)
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)
    await two_nodes.client.delete(NODES, "", "third")
    await two_nodes.until_gone(PODS, pod["metadata"]["name"])
    assert not await ready_pods(two_nodes), "its successor finds no such node"


async def test_gpus_are_counted_on_every_node(two_nodes: Any) -> None:
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    for name in ("a", "b", "c"):
        await two_nodes.pod(name, *SLEEP, resources=gpu)
    placed = [await two_nodes.until_pod(name, lambda p: p["spec"].get("nodeName")) for name in ("a", "b")]
    assert {pod["spec"]["nodeName"] for pod in placed} == {"videofleet-dev", "videofleet-dev-2"}

    def message(pod: dict[str, Any]) -> str:
        conditions = pod["status"].get("conditions", [])
        return next((c.get("message", "") for c in conditions if c["type"] == "PodScheduled"), "")

    waiting = await two_nodes.until_pod("c", message)
    assert message(waiting).startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
