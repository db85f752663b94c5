"""What a Deployment wants next: its new ReplicaSet, the sizes of all its ReplicaSets, and its status.

Pure. The arithmetic is Kubernetes': maxSurge rounds up, maxUnavailable rounds down, unhealthy old pods go
first. Every action carries the sentence that becomes its Event. Left out: proportional scaling in the middle
of a rollout.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from videofleet_devcluster.controllers.deployment_status import deployment_status
from videofleet_devcluster.objects import (
    Object,
    annotations_of,
    controller_reference,
    labels_of,
    name_hash,
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
        """The sentence for the Event."""
        old, name = self.replica_set["spec"]["replicas"], self.replica_set["metadata"]["name"]
        direction = "up" if self.replicas > old else "down"
        return f"Scaled {direction} replica set {name} from {old} to {self.replicas}"


@dataclass(frozen=True)
class DeploymentPlan:
    """What to write; empty parts mean that nothing is to be done."""

    create: Object | None
    current: Object | None
    """The ReplicaSet of the template, if it exists."""
    scale: tuple[Scale, ...]
    delete: tuple[Object, ...]
    revision: str
    status: Object
    requeue_after_s: float | None


def plan_deployment(
    deployment: Object, replica_sets: list[Object], unended: Mapping[str, int], now: datetime
) -> DeploymentPlan:
    """The next step.

    Args:
        deployment: as the API server stores it.
        replica_sets: all that it controls.
        unended: ReplicaSet uid → its pods that have not ended, terminating ones included.
        now: the clock.
    """
    ordered = sorted(replica_sets, key=lambda rs: (rs["metadata"]["creationTimestamp"], rs["metadata"]["name"]))
    new = next((rs for rs in ordered if _runs_template(rs, deployment)), None)
    old = [rs for rs in ordered if rs is not new]
    paused = bool(deployment["spec"].get("paused"))
    revision = _revision(new, old)
    create = new_replica_set(deployment, revision) if new is None and not paused else None
    current = new if new is not None else create
    old_pods = sum(unended.get(rs["metadata"]["uid"], 0) for rs in old)
    sizes = _sizes(deployment, current, old, old_pods) if not paused else {}
    if create is not None:
        create["spec"]["replicas"] = sizes.pop(create["metadata"]["name"], 0)
    scale = tuple(
        Scale(rs, sizes[rs["metadata"]["name"]])
        for rs in ordered
        if sizes.get(rs["metadata"]["name"], rs["spec"]["replicas"]) != rs["spec"]["replicas"]
    )
    status, requeue_after_s = deployment_status(deployment, current, ordered, limits(deployment)[1], now)
    return DeploymentPlan(
        create=create,
        current=new,
        scale=scale,
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
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, spec["replicas"]
    rolling = strategy.get("rollingUpdate") or {}
    surge = _pods(rolling.get("maxSurge", "25%"), spec["replicas"], math.ceil)
    unavailable = min(_pods(rolling.get("maxUnavailable", "25%"), spec["replicas"], math.floor), spec["replicas"])
    return (surge, 1) if surge == unavailable == 0 else (surge, unavailable)


def _pods(share: int | str, replicas: int, rounded: Any) -> int:
    if isinstance(share, str) and share.endswith("%"):
        return int(rounded(int(share[:-1]) * replicas / 100))
    return int(share)


def new_replica_set(deployment: Object, revision: str) -> Object:
    """The ReplicaSet of the Deployment's current template, of size 0."""
    meta, spec = deployment["metadata"], deployment["spec"]
    digest = name_hash(spec["template"])
    labels = labels_of(spec["template"]) | {HASH_LABEL: digest}
    template_meta = spec["template"]["metadata"] | {"labels": labels}
    selector = spec["selector"]
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
            "template": spec["template"] | {"metadata": template_meta},
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
    wanted = deployment["spec"]["replicas"]
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        sizes = {rs["metadata"]["name"]: 0 for rs in old}
        return sizes | {new["metadata"]["name"]: wanted if old_pods == 0 else new["spec"]["replicas"]}
    return _new_size(deployment, new, old) | _old_sizes(deployment, new, old)


def _new_size(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    wanted, size = deployment["spec"]["replicas"], new["spec"]["replicas"]
    room = wanted + limits(deployment)[0] - size - sum(rs["spec"]["replicas"] for rs in old)
    size = wanted if size > wanted else size + max(0, min(room, wanted - size))
    return {new["metadata"]["name"]: size}


def _old_sizes(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    """Unhealthy old pods go first, then as many healthy ones as availability allows."""
    sizes = {rs["metadata"]["name"]: int(rs["spec"]["replicas"]) for rs in old}
    min_available = deployment["spec"]["replicas"] - limits(deployment)[1]
    new_unavailable = new["spec"]["replicas"] - _available(new)
    budget = sum(sizes.values()) + new["spec"]["replicas"] - min_available - new_unavailable
    for rs in old:
        name = rs["metadata"]["name"]
        unhealthy = max(0, min(budget, sizes[name] - _available(rs)))
        sizes[name] -= unhealthy
        budget -= unhealthy
    # Availability is what ReplicaSets last reported, so it may still count pods that are already going.
    spare = min(budget, _available(new) + sum(_available(rs) for rs in old) - min_available)
    for rs in old:
        name = rs["metadata"]["name"]
        step = max(0, min(spare, sizes[name]))
        sizes[name] -= step
        spare -= step
    return sizes


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


def _history_beyond_limit(deployment: Object, old: list[Object]) -> tuple[Object, ...]:
    idle = [rs for rs in old if rs["spec"]["replicas"] == 0 and not (rs.get("status") or {}).get("replicas")]
    excess = len(idle) - int(deployment["spec"].get("revisionHistoryLimit", 10))
    return tuple(idle[: max(0, excess)])
