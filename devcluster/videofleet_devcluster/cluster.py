"""The whole dev cluster in one process: API server, controllers, nodes, Redis and the claim `models`.

For demo and tests; it is not Kubernetes. Everything it keeps lies in one folder, and nothing of it outlives the
context: no process, no port. Tests use it as they would use a cluster: through its kubeconfig.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from videofleet_devcluster import client as kinds
from videofleet_devcluster.apiserver.server import ApiServer
from videofleet_devcluster.client import ApiClient, connected
from videofleet_devcluster.controllers.claims import Claims
from videofleet_devcluster.controllers.disruption import Budgets
from videofleet_devcluster.controllers.endpoints import ServiceEndpoints
from videofleet_devcluster.controllers.nodes import Nodes
from videofleet_devcluster.controllers.scheduler import Scheduling
from videofleet_devcluster.controllers.workloads import Workloads
from videofleet_devcluster.informer import Informer, run_synced
from videofleet_devcluster.node.agent import Node
from videofleet_devcluster.node.fake import FakeNode
from videofleet_devcluster.objects import Object
from videofleet_devcluster.processes import Processes
from videofleet_devcluster.redis import RedisServer

_log: Final = logging.getLogger(__name__)
_NODE: Final = "videofleet-dev"
_MODELS: Final = "models"
_START_S: Final = 60.0


@dataclass(frozen=True)
class Options:
    """How the cluster differs from the one that `videofleet dev up` starts."""

    models: Path
    gpus: int = 0
    """nvidia.com/gpu on each node."""
    nodes: int = 1
    fake_ready_after_s: float | None = None
    """Nodes run nothing, and their pods are Ready after this."""
    first_back_off_s: float = 10.0
    """Pause before a container's second restart; tests make it short."""
    node_grace_s: float = 40.0
    """How long a node may be silent before it is lost; it beats four times as often."""


class DevCluster:
    """Use as an async context manager, on the main thread."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder, self._options = folder.absolute(), options
        self._closing = contextlib.AsyncExitStack()
        self.kubeconfig = self._folder / "kubeconfig"
        self.client: ApiClient
        self.redis: RedisServer
        self.api: ApiServer

    async def __aenter__(self) -> "DevCluster":
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with contextlib.AsyncExitStack() as stack:
            self.api = ApiServer()
            stack.push_async_callback(self.api.stop)
            await self.api.start()
            self.api.kubeconfig(self.kubeconfig)
            processes = await stack.enter_async_context(Processes())
            self.redis = await stack.enter_async_context(RedisServer(processes, self._folder / "redis"))
            self.client = await stack.enter_async_context(connected(self.kubeconfig))
            await self._offer_models()
            work = run_controllers(self.client, self._folder / "volumes", self._options.node_grace_s)
            await stack.enter_async_context(_background(work))
            for number in range(1, self._options.nodes + 1):
                node = self._node(processes, number)
                await stack.enter_async_context(_background(node.run()))
                await asyncio.wait_for(node.registered.wait(), _START_S)
            self._closing = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def _node(self, processes: Processes, number: int) -> Node | FakeNode:
        options, suffix = self._options, f"-{number}" if number > 1 else ""
        name, beat_s = _NODE + suffix, options.node_grace_s / 4
        if options.fake_ready_after_s is not None:
            return FakeNode(self.client, name, options.gpus, options.fake_ready_after_s, beat_s)
        home = self._folder / f"node{suffix}"
        return Node(self.client, processes, name, home, options.gpus, options.first_back_off_s, beat_s)

    async def _offer_models(self) -> None:
        """PersistentVolume and claim `models` in namespace default, backed by the models folder."""
        size, common = {"storage": "1Ti"}, {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
        volume: Object = common | {
            "capacity": size,
            "claimRef": {"namespace": "default", "name": _MODELS},
            "hostPath": {"path": str(self._options.models.absolute()), "type": "DirectoryOrCreate"},
        }
        claim: Object = common | {"resources": {"requests": size}, "volumeName": _MODELS}
        await self.client.create(kinds.VOLUMES, {"metadata": {"name": _MODELS}, "spec": volume})
        await self.client.create(kinds.CLAIMS, {"metadata": {"name": _MODELS, "namespace": "default"}, "spec": claim})


async def run_controllers(client: ApiClient, volumes_root: Path, node_grace_s: float) -> None:
    """Runs all controllers of a cluster until cancelled; provisioned volumes lie in a folder of their own."""
    pods, nodes, leases = (Informer(client, kind) for kind in (kinds.PODS, kinds.NODES, kinds.LEASES))
    deployments, replica_sets = Informer(client, kinds.DEPLOYMENTS), Informer(client, kinds.REPLICA_SETS)
    services, budgets = Informer(client, kinds.SERVICES), Informer(client, kinds.BUDGETS)
    claims, volumes = Informer(client, kinds.CLAIMS), Informer(client, kinds.VOLUMES)
    workloads = Workloads(client, deployments, replica_sets, pods)
    loops = (
        workloads.deployment_loop,
        workloads.replica_set_loop,
        Scheduling(client, pods, nodes, claims).loop,
        Nodes(client, nodes, leases, pods, node_grace_s).loop,
        Claims(client, claims, volumes, volumes_root).loop,
        ServiceEndpoints(client, services, pods).loop,
        Budgets(budgets, pods, replica_sets).loop,
    )
    informers = (pods, nodes, leases, deployments, replica_sets, services, budgets, claims, volumes)
    async with asyncio.TaskGroup() as tasks:
        await run_synced(tasks, informers)
        for loop in loops:
            tasks.create_task(loop.run())


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_complain)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a part of the cluster has stopped working", exc_info=task.exception())
