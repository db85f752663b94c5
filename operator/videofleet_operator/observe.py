"""Turns one fleet's world, as the caches and Redis have it, into `Observed`. Reads only; decides nothing."""

import asyncio
from datetime import datetime
from typing import Any

from videofleet.queue import JobQueue, QueueError
from videofleet_operator.cache import Caches
from videofleet_operator.crd.manifest import PAUSED_ANNOTATION, ROLLOUT_ANNOTATION
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.manifests.children import fleet_children
from videofleet_operator.manifests.names import COST_ANNOTATION, DECODER_LABEL, REVISION_LABEL, TRACK_LABEL
from videofleet_operator.observed import (
    DeploymentSeen,
    FleetSeen,
    Observed,
    PodSeen,
    QueueSeen,
    RevisionSeen,
)
from videofleet_operator.workqueue import Key


async def observe_fleet(kube: KubeClient, caches: Caches, queue: JobQueue, key: Key) -> Observed | None:
    """Everything about a fleet; None when its VideoGenerator is gone or going. Raises: KubeError."""
    fleet = _living(caches, key)
    if fleet is None:
        return None
    seen_queue = await observe_queue(queue, fleet.uid)
    failures = await _mount_failures(kube, key[0]) if _is_any_stuck(_pods(caches, fleet)) else {}
    fleet = _living(caches, key)  # what follows is one moment, without an await
    if fleet is None:
        return None
    workers, decoders = _parted(_owned(caches, fleet, "Deployment"))
    pods, decoder_pods = _parted(_pods(caches, fleet))
    return Observed(
        fleet=fleet,
        revisions=tuple(_revision_seen(found) for found in _owned(caches, fleet, "ControllerRevision")),
        deployments=tuple(_deployment_seen(found, REVISION_LABEL) for found in workers),
        config_maps=_names(caches, fleet, "ConfigMap"),
        disruption_budgets=_names(caches, fleet, "PodDisruptionBudget"),
        fleet_children=_fleet_children(caches, fleet),
        pods=tuple(pod_seen(pod, failures.get(pod["metadata"]["uid"]), REVISION_LABEL) for pod in pods),
        decoders=tuple(_deployment_seen(found, DECODER_LABEL) for found in decoders),
        decoder_pods=tuple(pod_seen(pod, failures.get(pod["metadata"]["uid"]), DECODER_LABEL) for pod in decoder_pods),
        queue=seen_queue,
    )


def _living(caches: Caches, key: Key) -> FleetSeen | None:
    """The VideoGenerator of this name that is not on its way out."""
    found = (one for one in caches["VideoGenerator"].of(key) if "deletionTimestamp" not in one["metadata"])
    return next((fleet_seen(generator) for generator in found), None)


async def observe_queue(queue: JobQueue, uid: str) -> QueueSeen | None:
    """The fleet in Redis; None while Redis does not answer."""
    try:
        stats, beacons, policy, outcomes, opinions = await asyncio.gather(
            queue.stats(uid), queue.beacons(uid), queue.policy(uid), queue.outcomes(uid), queue.opinions.of(uid)
        )
    except QueueError:
        return None
    return QueueSeen(stats, tuple(beacons), policy, tuple(outcomes), tuple(opinions))


def fleet_seen(generator: dict[str, Any]) -> FleetSeen:
    """A VideoGenerator as the API server gives it."""
    meta = generator["metadata"]
    annotations = meta.get("annotations") or {}
    return FleetSeen(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        spec=generator.get("spec"),
        status=generator.get("status") or {},
        is_paused=annotations.get(PAUSED_ANNOTATION) == "true",
        command=annotations.get(ROLLOUT_ANNOTATION),
    )


def _owned(caches: Caches, fleet: FleetSeen, kind: str) -> list[dict[str, Any]]:
    """Children of this very fleet: those of a deleted one of the same name are as good as gone."""
    return [child for child in caches[kind].of(fleet.key) if _is_owned(child, fleet.uid)]


def _is_owned(child: dict[str, Any], uid: str) -> bool:
    meta = child["metadata"]
    is_going = "deletionTimestamp" in meta
    return not is_going and any(owner["uid"] == uid for owner in meta.get("ownerReferences", []))


def _names(caches: Caches, fleet: FleetSeen, kind: str) -> frozenset[str]:
    return frozenset(found["metadata"]["name"] for found in _owned(caches, fleet, kind))


def _fleet_children(caches: Caches, fleet: FleetSeen) -> dict[str, dict[str, Any]]:
    """Those that have the names we give; others with our labels are somebody's mistake."""
    names = {desired["kind"]: desired["metadata"]["name"] for desired in fleet_children(fleet)}
    return {
        kind: found
        for kind, name in names.items()
        for found in _owned(caches, fleet, kind)
        if found["metadata"]["name"] == name
    }


def _revision_seen(found: dict[str, Any]) -> RevisionSeen:
    return RevisionSeen(found["metadata"]["labels"].get(REVISION_LABEL, ""), found["revision"], found.get("data"))


def _parted(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of workers, and of decoders."""
    decoders = [one for one in found if DECODER_LABEL in one["metadata"]["labels"]]
    return [one for one in found if one not in decoders], decoders


def _deployment_seen(found: dict[str, Any], label: str) -> DeploymentSeen:
    meta, status = found["metadata"], found.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    refusal, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    is_late = progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded"
    return DeploymentSeen(
        revision=meta["labels"].get(label, ""),
        is_stable=meta["labels"].get(TRACK_LABEL) == "stable",
        wanted=found["spec"].get("replicas", 1),
        existing=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        refusal=refusal.get("message") if refusal.get("status") == "True" else None,
        late=progress.get("message", "") if is_late else None,
    )


def _pods(caches: Caches, fleet: FleetSeen) -> list[dict[str, Any]]:
    """Pods of this very fleet."""
    return [pod for pod in caches["Pod"].of(fleet.key) if f"--fleet-uid={fleet.uid}" in _args(pod)]


def _is_any_stuck(pods: list[dict[str, Any]]) -> bool:
    return any(_waiting(pod).get("reason") == "ContainerCreating" for pod in pods)


async def _mount_failures(kube: KubeClient, namespace: str) -> dict[str, str]:
    """Pod UID → message of the latest FailedMount event."""
    found = await kube.list("Event", namespace, fieldSelector="reason=FailedMount")
    events = sorted(found["items"], key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return {event["involvedObject"].get("uid", ""): event.get("message", "") for event in events}


def pod_seen(pod: dict[str, Any], mount_failure: str | None, revision_label: str) -> PodSeen:
    """A pod as the API server gives it."""
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    scheduled, waiting = conditions.get("PodScheduled", {}), _waiting(pod)
    ended = _ended(pod)
    is_unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodSeen(
        name=meta["name"],
        revision=meta["labels"].get(revision_label, ""),
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_terminating="deletionTimestamp" in meta,
        unschedulable=scheduled.get("message", "") if is_unschedulable else None,
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        exit_reason=ended.get("reason"),
        exit_code=ended.get("exitCode"),
        termination_message=ended.get("message", ""),
        mount_failure=mount_failure if waiting.get("reason") == "ContainerCreating" else None,
        made_s=_made_s(meta),
        is_costed=COST_ANNOTATION in (meta.get("annotations") or {}),
    )


def _made_s(meta: dict[str, Any]) -> float:
    made = meta.get("creationTimestamp")
    return datetime.fromisoformat(made).timestamp() if made else 0.0


def _args(pod: dict[str, Any]) -> list[str]:
    return [argument for container in pod["spec"]["containers"] for argument in container.get("args", [])]


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    """The container that matters now: the one that fetches weights until it is done, then the worker."""
    status = pod.get("status", {})
    for fetcher in status.get("initContainerStatuses", []):
        if fetcher.get("state", {}).get("terminated", {}).get("exitCode") != 0:
            return dict(fetcher)
    statuses: list[dict[str, Any]] = status.get("containerStatuses", [])
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
