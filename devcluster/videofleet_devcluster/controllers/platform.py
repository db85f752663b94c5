"""Performs scheduling, claim binding and endpoints. No decision is taken here."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

from videofleet_devcluster.client import (
    CLAIMS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    PODS,
    VOLUMES,
    ApiClient,
    ApiError,
    Resource,
)
from videofleet_devcluster.controllers.claims import (
    PROVISIONED_BY,
    bound_claim_patch,
    is_bound_to,
    plan_claim,
)
from videofleet_devcluster.controllers.endpoints import plan_endpoints
from videofleet_devcluster.controllers.replicaset import phase_of
from videofleet_devcluster.controllers.scheduler import Placement, place
from videofleet_devcluster.events import Recorder
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    annotations_of,
    condition_of,
    is_deleting,
    key_of,
    transitioned,
)


class Scheduling:
    """Binds pods to nodes."""

    def __init__(self, client: ApiClient, pods: Informer, nodes: Informer, claims: Informer) -> None:
        self._client, self._pods, self._nodes, self._claims = client, pods, nodes, claims
        self._events = Recorder(client, "default-scheduler")

    async def pod(self, key: Key) -> float | None:
        """Places one pod, or says why not."""
        pod = self._pods.get(key)
        if pod is None or pod["spec"].get("nodeName") or is_deleting(pod):
            return None
        if pod["spec"].get("schedulerName") != "default-scheduler":
            return None
        placement = place(pod, self._nodes.all(), self._pods.all(), self._claims.all(key[0]))
        if placement.node is None:
            await self._refuse(pod, placement)
        else:
            await self._bind(pod, placement.node)
        return None

    async def _bind(self, pod: Object, node: str) -> None:
        namespace, name = key_of(pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self._client.request("POST", PODS.path(namespace, name, "binding"), binding)
        self._pods.observe(await self._client.get(PODS, namespace, name))
        message = f"Successfully assigned {namespace}/{name} to {node}"
        await self._events.record(pod, PODS, "Normal", "Scheduled", message)

    async def _refuse(self, pod: Object, placement: Placement) -> None:
        old = condition_of(pod, "PodScheduled")
        new = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": placement.message,
        }
        if old is not None and all(old.get(name) == value for name, value in new.items()):
            return
        others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c is not old]
        conditions = [*others, transitioned(old, new, datetime.now(UTC))]
        patch = {"status": {"phase": "Pending", "conditions": conditions}}
        self._pods.observe(await self._client.patch(PODS, *key_of(pod), patch, "status"))
        await self._events.record(pod, PODS, "Warning", "FailedScheduling", placement.message)


class Claims:
    """Binds claims to volumes, and removes provisioned folders with their claims."""

    def __init__(self, client: ApiClient, claims: Informer, volumes: Informer, root: Path) -> None:
        self._client, self._claims, self._volumes, self._root = client, claims, volumes, root

    async def claim(self, key: Key) -> float | None:
        """Binds one claim, or lets it wait."""
        claim = self._claims.get(key)
        if claim is None:
            await self._release(key)
            return None
        if phase_of(claim) == "Bound" or is_deleting(claim):
            return None
        volume = next((v for v in self._volumes.all() if is_bound_to(v, claim)), None)
        if volume is None:
            volume = await self._volume_for(claim)
        if volume is not None:
            await self._complete(claim, volume)
        return None

    async def _volume_for(self, claim: Object) -> Object | None:
        plan = plan_claim(claim, self._volumes.all(), self._root)
        if plan is None:
            return None
        if plan.provision:
            volume = await self._client.create(VOLUMES, plan.volume)
        else:
            patch = {"spec": {"claimRef": plan.volume["spec"]["claimRef"]}}
            volume = await self._client.patch(VOLUMES, "", plan.volume["metadata"]["name"], patch)
        self._volumes.observe(volume)
        return volume

    async def _complete(self, claim: Object, volume: Object) -> None:
        patch, status = bound_claim_patch(claim, volume)
        await self._client.patch(VOLUMES, "", volume["metadata"]["name"], {"status": {"phase": "Bound"}}, "status")
        await self._client.patch(CLAIMS, *key_of(claim), patch)
        self._claims.observe(await self._client.patch(CLAIMS, *key_of(claim), {"status": status}, "status"))

    async def _release(self, key: Key) -> None:
        for volume in self._volumes.all():
            reference = volume["spec"].get("claimRef") or {}
            if (reference.get("namespace"), reference.get("name")) != key or phase_of(volume) == "Released":
                continue
            if PROVISIONED_BY in annotations_of(volume):
                await self._client.delete(VOLUMES, "", volume["metadata"]["name"])
                await asyncio.to_thread(shutil.rmtree, volume["spec"]["hostPath"]["path"], ignore_errors=True)
            else:
                patch = {"status": {"phase": "Released"}}
                await self._client.patch(VOLUMES, "", volume["metadata"]["name"], patch, "status")


class ServiceEndpoints:
    """Keeps Endpoints and EndpointSlices of Services up to date."""

    def __init__(self, client: ApiClient, services: Informer, pods: Informer) -> None:
        self._client, self._services, self._pods = client, services, pods
        self._written: dict[str, Object] = {}

    async def service(self, key: Key) -> float | None:
        """Writes what changed for one Service."""
        service = self._services.get(key)
        if service is None:
            self._written = {path: obj for path, obj in self._written.items() if not path.endswith("@" + "/".join(key))}
            await self._remove(key)
            return None
        plan = plan_endpoints(service, self._pods.all(key[0]))
        if plan is not None:
            endpoints, slice_ = plan
            await self._write(ENDPOINTS, endpoints, key)
            await self._write(ENDPOINT_SLICES, slice_, key)
        return None

    async def _write(self, resource: Resource, wanted: Object, service: Key) -> None:
        path = f"{resource.plural}/{wanted['metadata']['name']}@{'/'.join(service)}"
        if self._written.get(path) == wanted:
            return
        try:
            await self._client.patch(resource, *key_of(wanted), wanted)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(resource, wanted)
        self._written[path] = wanted

    async def _remove(self, key: Key) -> None:
        try:
            await self._client.delete(ENDPOINTS, *key)
        except ApiError as error:
            if error.code != 404:
                raise
