"""The control plane's loops, and which change wakes which of them."""

import asyncio
from pathlib import Path

from videofleet_devcluster.client import (
    CLAIMS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VOLUMES,
    ApiClient,
)
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.controllers.platform import Claims, Scheduling, ServiceEndpoints
from videofleet_devcluster.controllers.workloads import Workloads
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import Object, controller_of, key_of


class Controllers:
    """All controllers of a cluster on one client."""

    def __init__(self, client: ApiClient, volumes_root: Path) -> None:
        self._deployments, self._replica_sets = Informer(client, DEPLOYMENTS), Informer(client, REPLICA_SETS)
        self._pods, self._nodes, self._services = (Informer(client, kind) for kind in (PODS, NODES, SERVICES))
        self._claims, self._volumes = Informer(client, CLAIMS), Informer(client, VOLUMES)
        workloads = Workloads(client, self._deployments, self._replica_sets, self._pods)
        scheduling = Scheduling(client, self._pods, self._nodes, self._claims)
        self._deployment_loop = Loop("deployment", workloads.deployment)
        self._replica_set_loop = Loop("replicaset", workloads.replica_set)
        self._scheduler_loop = Loop("scheduler", scheduling.pod)
        self._claim_loop = Loop("claim", Claims(client, self._claims, self._volumes, volumes_root).claim)
        self._service_loop = Loop("service", ServiceEndpoints(client, self._services, self._pods).service)
        self._connect()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            informers = (
                *(self._deployments, self._replica_sets, self._pods, self._nodes),
                *(self._services, self._claims, self._volumes),
            )
            for informer in informers:
                tasks.create_task(informer.run())
            for informer in informers:  # a plan made from half a picture would create what already exists
                await informer.synced.wait()
            for loop in (
                *(self._deployment_loop, self._replica_set_loop, self._scheduler_loop),
                *(self._claim_loop, self._service_loop),
            ):
                tasks.create_task(loop.run())

    def _connect(self) -> None:
        self._deployments.listen(lambda obj: self._deployment_loop.add(key_of(obj)))
        self._replica_sets.listen(self._replica_set_changed)
        self._pods.listen(self._pod_changed)
        self._nodes.listen(lambda _: self._reschedule())
        self._services.listen(lambda obj: self._service_loop.add(key_of(obj)))
        self._claims.listen(self._claim_changed)
        self._volumes.listen(lambda _: self._rebind())

    def _replica_set_changed(self, replica_set: Object) -> None:
        self._replica_set_loop.add(key_of(replica_set))
        owner = controller_of(replica_set)
        if owner is not None:
            self._deployment_loop.add((key_of(replica_set)[0], owner["name"]))

    def _pod_changed(self, pod: Object) -> None:
        namespace = key_of(pod)[0]
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "ReplicaSet":
            self._replica_set_loop.add((namespace, owner["name"]))
            replica_set = self._replica_sets.get((namespace, owner["name"]))
            deployment = controller_of(replica_set) if replica_set else None
            if deployment is not None:  # Recreate waits for the last old pod to go
                self._deployment_loop.add((namespace, deployment["name"]))
        for service in self._services.all(namespace):
            self._service_loop.add(key_of(service))
        if pod["spec"].get("nodeName"):
            self._reschedule()  # it may have freed what another pod waits for
        else:
            self._scheduler_loop.add(key_of(pod))

    def _reschedule(self) -> None:
        for pod in self._pods.all():
            if not pod["spec"].get("nodeName"):
                self._scheduler_loop.add(key_of(pod))

    def _claim_changed(self, claim: Object) -> None:
        self._claim_loop.add(key_of(claim))
        self._reschedule()

    def _rebind(self) -> None:
        for claim in self._claims.all():
            self._claim_loop.add(key_of(claim))
