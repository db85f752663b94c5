"""The Node object: what the node has, where its logs are, and its heartbeat."""

import asyncio
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp

from videofleet_devcluster.client import LEASES, NODES, ApiClient, ApiError
from videofleet_devcluster.objects import Object, is_true, timestamp

GPU: Final = "nvidia.com/gpu"
BEAT_S: Final = 10.0
_LEASE_NAMESPACE: Final = "kube-node-lease"
_LEASE_S: Final = 40


def machine_capacity(gpus: int) -> dict[str, str]:
    """The processors and the memory of this machine, and as many GPUs as we are told."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    real = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory_bytes // 1024}Ki", "pods": "250"}
    return real | ({GPU: str(gpus)} if gpus else {})


class Registration:
    """A Node in the name of whoever runs its pods. `log_port` 0 says that it serves no logs."""

    def __init__(
        self, client: ApiClient, name: str, capacity: dict[str, str], log_port: int = 0, beat_s: float = BEAT_S
    ) -> None:
        self._client, self._name, self._capacity = client, name, capacity
        self._log_port, self._beat_s = log_port, beat_s

    async def register(self) -> None:
        """Creates the Node, or takes over one of that name."""
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux", "videofleet.dev/dev-node": "true"}
        try:
            await self._client.create(NODES, {"metadata": {"name": self._name, "labels": labels}, "spec": {}})
        except ApiError as error:
            if error.code != 409:
                raise
        await self._beat()
        await self._publish()

    async def keep_beating(self, returned: Callable[[], None]) -> None:
        """Renews the Lease until cancelled; a lost beat is made up by the next.

        Calls `returned` when the cluster had given the node up, after saying that it is there.
        """
        while True:
            await asyncio.sleep(self._beat_s)
            try:
                await self._beat()
                if not is_true(await self._client.get(NODES, "", self._name), "Ready"):
                    await self._publish()
                    returned()
            except (ApiError, aiohttp.ClientError, TimeoutError):
                continue

    async def _publish(self) -> None:
        status = node_status(self._name, self._capacity, self._log_port, datetime.now(UTC))
        await self._client.patch(NODES, "", self._name, {"status": status}, "status")

    async def _beat(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": _LEASE_S, "renewTime": now}
        try:
            await self._client.patch(LEASES, _LEASE_NAMESPACE, self._name, {"spec": spec})
        except ApiError as error:
            if error.code != 404:
                raise
            metadata = {"name": self._name, "namespace": _LEASE_NAMESPACE}
            await self._client.create(LEASES, {"metadata": metadata, "spec": spec})


def node_status(name: str, capacity: dict[str, str], log_port: int, now: datetime) -> Object:
    """What the node publishes of itself."""
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the node runs pods as local processes",
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
    }
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}]
    info = {
        "kubeletVersion": "v1.36.0+videofleet-dev",
        "containerRuntimeVersion": "process://1",
        "operatingSystem": "linux",
        "osImage": "this machine",
        "architecture": platform.machine(),
        "kernelVersion": platform.release(),
    }
    unknown = dict.fromkeys(("kubeProxyVersion", "machineID", "systemUUID", "bootID"), "")
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [ready],
        "addresses": addresses,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "nodeInfo": info | unknown,
    }
