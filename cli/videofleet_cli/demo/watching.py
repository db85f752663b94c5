"""Waiting for Kubernetes with words for what it waits for. Reads objects again and again; decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from kubernetes.aio import client

from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import GROUP, PLURAL, VERSION, Cluster, Object, translated

_POLL_S: Final = 0.25
_CRASHES: Final = 2
Say = Callable[[str], None]
Look = Callable[[], Awaitable[tuple[bool, str]]]  # (is it done, what is going on)


async def deployments_available(cluster: Cluster, namespace: str, names: list[str], say: Say, limit_s: float) -> None:
    """Until every Deployment has all its replicas available. Raises: CommandError."""
    apps = client.AppsV1Api(cluster.api)

    async def look() -> tuple[bool, str]:
        listed: Any = await apps.list_namespaced_deployment(namespace)
        found = {item.metadata.name: item for item in listed.items if item.metadata.name in names}
        ready = {name: item.status.available_replicas or 0 for name, item in found.items()}
        words = ", ".join(f"{name} {ready.get(name, 0)}/{_wanted(found.get(name))}" for name in names)
        await _refuse_crash_loops(cluster, namespace)
        return all(name in found and ready[name] >= _wanted(found[name]) for name in names), words

    await _until(look, say, limit_s)


async def _refuse_crash_loops(cluster: Cluster, namespace: str) -> None:
    """A program that ends again and again will not get better by waiting. Raises: CommandError."""
    pods: Any = await client.CoreV1Api(cluster.api).list_namespaced_pod(namespace)
    for pod in pods.items:
        for status in pod.status.container_statuses or []:
            if status.restart_count >= _CRASHES and not status.ready:
                message = f"{status.name} in pod {pod.metadata.name} ended {status.restart_count} times"
                raise CommandError(message, Exit.FAILED)


def _wanted(deployment: Any) -> int:
    return int(deployment.spec.replicas) if deployment else 1


async def fleet_ready(cluster: Cluster, namespace: str, name: str, say: Say, limit_s: float) -> None:
    """Until the VideoGenerator says Ready; says what it is busy with. Raises: CommandError, at once when stalled."""
    custom = client.CustomObjectsApi(cluster.api)

    async def look() -> tuple[bool, str]:
        fleet: Any = await custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        conditions = conditions_of(fleet)
        ready, stalled = conditions.get("Ready", {}), conditions.get("Stalled", {})
        if stalled.get("status") == "True":
            raise CommandError(f"{name} is stalled: {stalled['reason']}: {stalled['message']}", Exit.FAILED)
        words = f"{ready['reason']}: {ready['message']}" if ready else "the operator has not looked at it yet"
        return ready.get("status") == "True", words

    await _until(look, say, limit_s)


def conditions_of(fleet: Object) -> dict[str, dict[str, str]]:
    """Conditions by type, of the current generation only."""
    conditions = fleet.get("status", {}).get("conditions", [])
    generation = fleet["metadata"].get("generation")
    return {item["type"]: item for item in conditions if item.get("observedGeneration") == generation}


async def _until(look: Look, say: Say, limit_s: float) -> None:
    words = ""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                with translated("watch the cluster"):
                    done, words = await look()
                say(words)
                if done:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise CommandError(f"not done after {limit_s:g} s: {words}", Exit.FAILED) from error
