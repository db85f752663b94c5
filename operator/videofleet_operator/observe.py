"""Reads one fleet's world into `Observed`. Reads only; decides nothing."""

import asyncio
from typing import Any

from videofleet.queue import JobQueue, QueueError
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import NotFound
from videofleet_operator.kube.paths import item
from videofleet_operator.manifests.names import REVISION_LABEL, TRACK_LABEL, select_fleet
from videofleet_operator.observed import (
    DeploymentSeen,
    FleetSeen,
    Observed,
    PodSeen,
    QueueSeen,
    RevisionSeen,
)


async def observe_fleet(kube: KubeClient, queue: JobQueue, namespace: str, name: str) -> Observed | None:
    """Everything about a fleet; None when its VideoGenerator is gone or going, for certain. Raises: KubeError."""
    try:
        generator = await kube.get(item("VideoGenerator", namespace, name))
    except NotFound as error:
        if error.is_object_missing:
            return None
        raise
    if "deletionTimestamp" in generator["metadata"]:
        return None
    fleet = fleet_seen(generator)
    kinds = ("ControllerRevision", "Deployment", "ConfigMap", "Service", "ServiceAccount")
    children, pods, seen_queue = await asyncio.gather(
        asyncio.gather(*(_owned(kube, fleet, kind) for kind in kinds)),
        _pods(kube, fleet),
        observe_queue(queue, fleet.uid),
    )
    revisions, deployments, config_maps, services, accounts = children
    return Observed(
        fleet=fleet,
        revisions=tuple(_revision_seen(found) for found in revisions),
        deployments=tuple(_deployment_seen(found) for found in deployments),
        config_maps=frozenset(found["metadata"]["name"] for found in config_maps),
        service=_named(services, fleet.name),
        service_account=_named(accounts, f"{fleet.name}-worker"),
        pods=pods,
        queue=seen_queue,
    )


async def observe_queue(queue: JobQueue, uid: str) -> QueueSeen | None:
    """The fleet in Redis; None while Redis does not answer."""
    try:
        stats, beacons, policy = await asyncio.gather(queue.stats(uid), queue.beacons(uid), queue.policy(uid))
    except QueueError:
        return None
    return QueueSeen(stats, tuple(beacons), policy)


def fleet_seen(generator: dict[str, Any]) -> FleetSeen:
    """A VideoGenerator as the API server gives it."""
    meta = generator["metadata"]
    return FleetSeen(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        spec=generator.get("spec"),
        status=generator.get("status") or {},
    )


async def _owned(kube: KubeClient, fleet: FleetSeen, kind: str) -> list[dict[str, Any]]:
    """Children of this very fleet: those of a deleted one of the same name are as good as gone."""
    found = await kube.list(kind, fleet.namespace, labelSelector=select_fleet(fleet.name))
    return [child for child in found["items"] if _is_owned(child, fleet.uid)]


def _is_owned(child: dict[str, Any], uid: str) -> bool:
    meta = child["metadata"]
    is_going = "deletionTimestamp" in meta
    return not is_going and any(owner["uid"] == uid for owner in meta.get("ownerReferences", []))


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((found for found in items if found["metadata"]["name"] == name), None)


def _revision_seen(found: dict[str, Any]) -> RevisionSeen:
    return RevisionSeen(found["metadata"]["labels"].get(REVISION_LABEL, ""), found["revision"], found.get("data"))


def _deployment_seen(found: dict[str, Any]) -> DeploymentSeen:
    meta, status = found["metadata"], found.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    refusal, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    is_late = progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded"
    return DeploymentSeen(
        revision=meta["labels"].get(REVISION_LABEL, ""),
        is_stable=meta["labels"].get(TRACK_LABEL) == "stable",
        wanted=found["spec"].get("replicas", 1),
        existing=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        refusal=refusal.get("message") if refusal.get("status") == "True" else None,
        late=progress.get("message", "") if is_late else None,
    )


async def _pods(kube: KubeClient, fleet: FleetSeen) -> tuple[PodSeen, ...]:
    """Pods of the fleet; for those that cannot start, what the latest FailedMount event says."""
    found = (await kube.list("Pod", fleet.namespace, labelSelector=select_fleet(fleet.name)))["items"]
    pods = [pod for pod in found if f"--fleet-uid={fleet.uid}" in _args(pod)]
    stuck = any(_waiting(pod).get("reason") == "ContainerCreating" for pod in pods)
    failures = await _mount_failures(kube, fleet.namespace) if stuck else {}
    return tuple(pod_seen(pod, failures.get(pod["metadata"]["uid"])) for pod in pods)


async def _mount_failures(kube: KubeClient, namespace: str) -> dict[str, str]:
    """Pod UID → message of the latest FailedMount event."""
    found = await kube.list("Event", namespace, fieldSelector="reason=FailedMount")
    events = sorted(found["items"], key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return {event["involvedObject"].get("uid", ""): event.get("message", "") for event in events}


def pod_seen(pod: dict[str, Any], mount_failure: str | None) -> PodSeen:
    """A pod as the API server gives it."""
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    scheduled, waiting = conditions.get("PodScheduled", {}), _waiting(pod)
    ended = _ended(pod)
    is_unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodSeen(
        name=meta["name"],
        revision=meta["labels"].get(REVISION_LABEL, ""),
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_terminating="deletionTimestamp" in meta,
        unschedulable=scheduled.get("message", "") if is_unschedulable else None,
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        exit_reason=ended.get("reason"),
        exit_code=ended.get("exitCode"),
        termination_message=ended.get("message", ""),
        mount_failure=mount_failure if waiting.get("reason") == "ContainerCreating" else None,
    )


def _args(pod: dict[str, Any]) -> list[str]:
    return [argument for container in pod["spec"]["containers"] for argument in container.get("args", [])]


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    statuses: list[dict[str, Any]] = pod.get("status", {}).get("containerStatuses", [])
    return statuses[0] if statuses else {}


def _waiting(pod: dict[str, Any]) -> dict[str, Any]:
    waiting: dict[str, Any] = _container(pod).get("state", {}).get("waiting", {})
    return waiting


def _ended(pod: dict[str, Any]) -> dict[str, Any]:
    """How the container ended, now or the last time."""
    status = _container(pod)
    ended: dict[str, Any] = status.get("state", {}).get("terminated") or status.get("lastState", {}).get(
        "terminated", {}
    )
    return ended
