"""What a Deployment wants next: its new ReplicaSet, the sizes of all its ReplicaSets, and its status. Pure.

The arithmetic is Kubernetes': maxSurge rounds up, maxUnavailable rounds down, unhealthy old pods go first. Progressing
is the memory of a rollout: its lastUpdateTime moves with every step forward, and when it has stood still for
progressDeadlineSeconds the rollout is given up. Left out: proportional scaling in the middle of a rollout.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from videofleet_devcluster.controllers.replicaset import REPLICA_FAILURE
from videofleet_devcluster.objects import (
    Object,
    age_s,
    annotations_of,
    condition_of,
    controller_reference,
    labels_of,
    name_hash,
    status_of,
    timestamp,
    transitioned,
    uid_of,
    without_zeros,
)

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Scale:
    """One ReplicaSet gets another size."""

    replica_set: Object
    replicas: int

    @property
    def why(self) -> str:
        old, name = self.replica_set["spec"]["replicas"], self.replica_set["metadata"]["name"]
        direction = "up" if self.replicas > old else "down"
        return f"Scaled {direction} replica set {name} from {old} to {self.replicas}"


@dataclass(frozen=True)
class DeploymentPlan:
    """What to write; empty parts mean that nothing is to be done. `current` is the template's ReplicaSet, if any."""

    create: Object | None
    current: Object | None
    scale: tuple[Scale, ...]
    delete: tuple[Object, ...]
    revision: str
    status: Object
    requeue_after_s: float | None


def plan_deployment(
    deployment: Object, replica_sets: list[Object], unended: Mapping[str, int], now: datetime
) -> DeploymentPlan:
    """The next step. `unended`: ReplicaSet uid → its pods that have not ended, terminating ones included."""
    ordered = sorted(replica_sets, key=lambda rs: (rs["metadata"]["creationTimestamp"], _name(rs)))
    new = next((rs for rs in ordered if _runs_template(rs, deployment)), None)
    old = [rs for rs in ordered if rs is not new]
    paused = bool(deployment["spec"].get("paused"))
    revision = _revision(new, old)
    create = _new_replica_set(deployment, revision) if new is None and not paused else None
    current = new if new is not None else create
    old_pods = sum(unended.get(uid_of(rs), 0) for rs in old)
    sizes = _sizes(deployment, current, old, old_pods) if not paused else {}
    if create is not None:
        create["spec"]["replicas"] = sizes.pop(_name(create), 0)
    sized = [Scale(rs, sizes.get(_name(rs), rs["spec"]["replicas"])) for rs in ordered]
    status, requeue_after_s = _status(deployment, current, ordered, now)
    return DeploymentPlan(
        create=create,
        current=new,
        scale=tuple(scale for scale in sized if scale.replicas != scale.replica_set["spec"]["replicas"]),
        delete=_history_beyond_limit(deployment, old),
        revision=revision,
        status=without_zeros(status),
        requeue_after_s=requeue_after_s,
    )


def limits(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods.

    >>> limits({"spec": {"replicas": 3, "strategy": {}}})  # 25% each
    (1, 0)
    """
    replicas, strategy = deployment["spec"]["replicas"], deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, replicas
    rolling = strategy.get("rollingUpdate") or {}
    surge = _pods(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = min(_pods(rolling.get("maxUnavailable", "25%"), replicas, math.floor), replicas)
    return (surge, 1) if surge == unavailable == 0 else (surge, unavailable)


def _pods(share: int | str, replicas: int, rounded: Callable[[float], int]) -> int:
    if isinstance(share, str) and share.endswith("%"):
        return rounded(int(share[:-1]) * replicas / 100)
    return int(share)


def _new_replica_set(deployment: Object, revision: str) -> Object:
    """The ReplicaSet of the Deployment's current template, of size 0."""
    meta, spec = deployment["metadata"], deployment["spec"]
    template, selector, digest = spec["template"], spec["selector"], name_hash(spec["template"])
    labels = labels_of(template) | {HASH_LABEL: digest}
    return {
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": {REVISION: revision},
            "ownerReferences": [controller_reference(deployment, "apps/v1", "Deployment")],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": selector | {"matchLabels": (selector.get("matchLabels") or {}) | {HASH_LABEL: digest}},
            "template": template | {"metadata": template["metadata"] | {"labels": labels}},
        },
    }


def _runs_template(replica_set: Object, deployment: Object) -> bool:
    if labels_of(replica_set).get(HASH_LABEL) == name_hash(deployment["spec"]["template"]):
        return True
    template = replica_set["spec"]["template"]
    labels = {name: value for name, value in labels_of(template).items() if name != HASH_LABEL}
    return bool(template | {"metadata": template["metadata"] | {"labels": labels}} == deployment["spec"]["template"])


def _revision(new: Object | None, old: list[Object]) -> str:
    highest_old = max((int(annotations_of(rs).get(REVISION, "0")) for rs in old), default=0)
    known = int(annotations_of(new).get(REVISION, "0")) if new is not None else 0
    return str(known if known > highest_old else highest_old + 1)


def _sizes(deployment: Object, new: Object | None, old: list[Object], old_pods: int) -> dict[str, int]:
    if new is None:
        return {}
    wanted, size = deployment["spec"]["replicas"], new["spec"]["replicas"]
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return {_name(rs): 0 for rs in old} | {_name(new): wanted if old_pods == 0 else size}
    room = wanted + limits(deployment)[0] - size - sum(rs["spec"]["replicas"] for rs in old)
    size = wanted if size > wanted else size + max(0, min(room, wanted - size))
    return {_name(new): size} | _old_sizes(deployment, new, old)


def _old_sizes(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    """Unhealthy old pods go first, then as many healthy ones as availability allows."""
    sizes = {_name(rs): int(rs["spec"]["replicas"]) for rs in old}
    min_available = deployment["spec"]["replicas"] - limits(deployment)[1]
    new_unavailable = new["spec"]["replicas"] - _count(new, "availableReplicas")
    budget = sum(sizes.values()) + new["spec"]["replicas"] - min_available - new_unavailable
    for rs in old:
        unhealthy = max(0, min(budget, sizes[_name(rs)] - _count(rs, "availableReplicas")))
        sizes[_name(rs)] -= unhealthy
        budget -= unhealthy
    # Availability is what ReplicaSets last reported, so it may still count pods that are already going.
    spare = min(budget, sum(_count(rs, "availableReplicas") for rs in (new, *old)) - min_available)
    for rs in old:
        step = max(0, min(spare, sizes[_name(rs)]))
        sizes[_name(rs)] -= step
        spare -= step
    return sizes


def _history_beyond_limit(deployment: Object, old: list[Object]) -> tuple[Object, ...]:
    idle = [rs for rs in old if rs["spec"]["replicas"] == 0 and not _count(rs, "replicas")]
    excess = len(idle) - int(deployment["spec"].get("revisionHistoryLimit", 10))
    return tuple(idle[: max(0, excess)])


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _count(obj: Object | None, field: str) -> int:
    return int(status_of(obj or {}).get(field, 0))


def _status(
    deployment: Object, new: Object | None, replica_sets: list[Object], now: datetime
) -> tuple[Object, float | None]:
    """The status, and in how many seconds the progress deadline must be looked at again."""
    total = {f: sum(_count(rs, f) for rs in replica_sets) for f in ("replicas", "readyReplicas", "availableReplicas")}
    intended = sum(int(rs["spec"]["replicas"]) for rs in replica_sets)
    counts = total | {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "updatedReplicas": _count(new, "replicas"),
        "unavailableReplicas": max(0, intended - total["availableReplicas"]),
    }
    enough = counts["availableReplicas"] >= deployment["spec"]["replicas"] - limits(deployment)[1]
    word, verb = ("Available", "has") if enough else ("Unavailable", "does not have")
    message = f"Deployment {verb} minimum availability."
    available = _condition(deployment, "Available", str(enough), f"MinimumReplicas{word}", message, now)
    progressing, requeue_after_s = _progressing(deployment, counts, _name(new) if new else "", now)
    failing = next(filter(None, (condition_of(rs, REPLICA_FAILURE) for rs in (new or {}, *replica_sets))), None)
    failure = failing and _condition(deployment, REPLICA_FAILURE, "True", failing["reason"], failing["message"], now)
    return counts | {"conditions": [*filter(None, [available, progressing, failure])]}, requeue_after_s


def _progressing(deployment: Object, counts: Object, name: str, now: datetime) -> tuple[Object | None, float | None]:
    """The condition as it should read now.

    | the rollout … | status | reason |
    | --- | --- | --- |
    | has everything updated and available | True | NewReplicaSetAvailable |
    | moved since the last look | True | ReplicaSetUpdated, dated now |
    | stands still, within the deadline | True | unchanged |
    | stands still beyond the deadline | False | ProgressDeadlineExceeded |
    """

    def say(status: str, reason: str, message: str) -> Object:
        return _condition(deployment, "Progressing", status, reason, f'ReplicaSet "{name}" {message}', now)

    old, wanted = condition_of(deployment, "Progressing"), deployment["spec"]["replicas"]
    deadline_s = float(deployment["spec"].get("progressDeadlineSeconds", 600))
    if deployment["spec"].get("paused"):
        return old, None
    if all(counts[field] == wanted for field in ("updatedReplicas", "replicas", "availableReplicas")):
        return say("True", "NewReplicaSetAvailable", "has successfully progressed."), None
    is_other = old is not None and name != "" and f'"{name}"' not in old["message"]
    if old is None or is_other or _moved(deployment, counts):
        return say("True", "ReplicaSetUpdated", "is progressing."), deadline_s
    if old["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return old, None  # a finished rollout that lost pods is not a stalled rollout
    idle_s = age_s(old["lastUpdateTime"], now)
    if idle_s <= deadline_s:
        return old, deadline_s - idle_s + 1
    return say("False", "ProgressDeadlineExceeded", "has timed out progressing."), None


def _moved(deployment: Object, counts: Object) -> bool:
    """Whether there are more updated, ready or available pods than before, or fewer outdated ones."""
    grew = any(
        counts[field] > _count(deployment, field) for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    outdated_before = _count(deployment, "replicas") - _count(deployment, "updatedReplicas")
    return grew or bool(counts["replicas"] - counts["updatedReplicas"] < outdated_before)


def _condition(deployment: Object, kind: str, status: str, reason: str, message: str, now: datetime) -> Object:
    """Moves lastUpdateTime when something new is said; a repeated ReplicaSetUpdated means a step."""
    new, old = {"type": kind, "status": status, "reason": reason, "message": message}, condition_of(deployment, kind)
    if old is not None and old | new == old and reason != "ReplicaSetUpdated":
        return old
    return transitioned(old, new | {"lastUpdateTime": timestamp(now)}, now)
