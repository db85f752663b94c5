"""The Node object: what the node has, where its logs are, and its heartbeat."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from typing import Final

import aiohttp

from videofleet_devcluster.client import LEASES, NODES, ApiClient, ApiError
from videofleet_devcluster.objects import Object, timestamp

_LEASE_NAMESPACE: Final = "kube-node-lease"
_LEASE_S: Final = 40
_BEAT_S: Final = 10.0


def machine_capacity() -> dict[str, str]:
    """The processors and the memory of this machine."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory_bytes // 1024}Ki", "pods": "250"}


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
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [ready],
        "addresses": addresses,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "nodeInfo": {
            "kubeletVersion": "v1.36.0+videofleet-dev",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "process://1",
            "operatingSystem": "linux",
            "osImage": "this machine",
            "architecture": platform.machine(),
            "kernelVersion": platform.release(),
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }


async def register(client: ApiClient, name: str, capacity: dict[str, str], log_port: int) -> None:
    """Creates the Node, or takes over one of that name."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "videofleet.dev/dev-node": "true"}
    try:
        await client.create(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {}})
    except ApiError as error:
        if error.code != 409:
            raise
    status = node_status(name, capacity, log_port, datetime.now(UTC))
    await client.patch(NODES, "", name, {"status": status}, "status")


async def keep_beating(client: ApiClient, name: str) -> None:
    """Renews the node's Lease until cancelled; a lost beat is made up by the next."""
    while True:
        try:
            await _beat(client, name)
        except (ApiError, aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(1)
        else:
            await asyncio.sleep(_BEAT_S)


async def _beat(client: ApiClient, name: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_S, "renewTime": now}
    try:
        await client.patch(LEASES, _LEASE_NAMESPACE, name, {"spec": spec})
    except ApiError as error:
        if error.code != 404:
            raise
        await client.create(LEASES, {"metadata": {"name": name, "namespace": _LEASE_NAMESPACE}, "spec": spec})
