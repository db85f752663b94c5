"""The Node object: what the node has, where its logs are, its heartbeat, and the addresses of its pods."""

import asyncio
import itertools
import os
import platform
import secrets
from collections.abc import Callable, Iterator
from typing import Final

import aiohttp

from videofleet_devcluster.client import LEASES, NODES, ApiClient, ApiError, ignoring
from videofleet_devcluster.objects import Object, is_true, micro_timestamp, timestamp

GPU: Final = "nvidia.com/gpu"
BEAT_S: Final = 10.0
_LEASE_S: Final = 40


def pod_addresses() -> Iterator[str]:
    """Loopback addresses, one a pod, so that all may listen on the same ports; 127.10 is Services'.

    Of a random block, so that nodes on one machine do not meet.
    """
    block, start = f"127.{64 + secrets.randbelow(128)}", secrets.randbelow(250)
    for n in itertools.count():
        yield f"{block}.{(start + n // 250) % 250 + 1}.{n % 250 + 1}"


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
        """Creates the Node, or takes over one of that name, and says what it has."""
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux", "videofleet.dev/dev-node": "true"}
        with ignoring(409):
            await self._client.create(NODES, {"metadata": {"name": self._name, "labels": labels}, "spec": {}})
        await self._beat()
        status = node_status(self._name, self._capacity, self._log_port)
        await self._client.patch(NODES, "", self._name, {"status": status}, "status")

    async def keep_beating(self, returned: Callable[[], None]) -> None:
        """Renews the Lease until cancelled; a lost beat is made up by the next.

        Registers again when the cluster had given the node up or its Node was deleted, and calls `returned` then.
        """
        while True:
            await asyncio.sleep(self._beat_s)
            try:
                await self._beat()
                if not await self._is_known():
                    await self.register()
                    returned()
            except (ApiError, aiohttp.ClientError, TimeoutError):
                continue

    async def _is_known(self) -> bool:
        node: Object = {}
        with ignoring(404):
            node = await self._client.get(NODES, "", self._name)
        return is_true(node, "Ready")

    async def _beat(self) -> None:
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": _LEASE_S, "renewTime": micro_timestamp()}
        metadata = {"name": self._name, "namespace": "kube-node-lease"}
        await self._client.put(LEASES, {"metadata": metadata, "spec": spec})


def node_status(name: str, capacity: dict[str, str], log_port: int) -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": timestamp()}
    ready |= {"message": "the node runs pods as local processes", "lastTransitionTime": timestamp()}
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
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "nodeInfo": info | unknown,
    }
