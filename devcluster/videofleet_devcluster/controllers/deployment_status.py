"""The status of a Deployment: counts, and the conditions Available and Progressing in Kubernetes' words.

Pure. Progressing is the memory of a rollout: its lastUpdateTime moves with every step forward, and when it
has stood still for progressDeadlineSeconds the rollout is given up as ProgressDeadlineExceeded.
"""

from datetime import datetime

from videofleet_devcluster.objects import Object, age_s, condition_of, timestamp, transitioned, without_zeros


def deployment_status(
    deployment: Object, new: Object | None, replica_sets: list[Object], max_unavailable: int, now: datetime
) -> tuple[Object, float | None]:
    """The status, and in how many seconds the progress deadline must be looked at again."""
    counts = _counts(deployment, new, replica_sets)
    wanted, name = deployment["spec"]["replicas"], new["metadata"]["name"] if new else ""
    enough = counts["availableReplicas"] >= wanted - max_unavailable
    word, verb = ("Available", "has") if enough else ("Unavailable", "does not have")
    available = {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": f"MinimumReplicas{word}",
        "message": f"Deployment {verb} minimum availability.",
    }
    conditions = [_dated(deployment, available, now)]
    progressing, requeue_after_s = _progressing(deployment, counts, name, now)
    if progressing is not None:
        conditions.append(progressing)
    return counts | {"conditions": conditions}, requeue_after_s


def _counts(deployment: Object, new: Object | None, replica_sets: list[Object]) -> Object:
    def total(field: str) -> int:
        return sum(int((rs.get("status") or {}).get(field, 0)) for rs in replica_sets)

    available = total("availableReplicas")
    intended = sum(int(rs["spec"]["replicas"]) for rs in replica_sets)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": total("replicas"),
        "updatedReplicas": int(((new or {}).get("status") or {}).get("replicas", 0)),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, intended - available),
    }


def _progressing(deployment: Object, counts: Object, name: str, now: datetime) -> tuple[Object | None, float | None]:
    """The condition as it should read now.

    | the rollout … | status | reason |
    | --- | --- | --- |
    | has everything updated and available | True | NewReplicaSetAvailable |
    | moved since the last look | True | ReplicaSetUpdated, dated now |
    | stands still, within the deadline | True | unchanged |
    | stands still beyond the deadline | False | ProgressDeadlineExceeded |
    """
    old = condition_of(deployment, "Progressing")
    deadline_s = float(deployment["spec"].get("progressDeadlineSeconds", 600))
    if deployment["spec"].get("paused"):
        return old, None
    subject = f'ReplicaSet "{name}"'
    wanted = deployment["spec"]["replicas"]
    if all(counts[field] == wanted for field in ("updatedReplicas", "replicas", "availableReplicas")):
        return _condition(
            deployment, "True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.", now
        ), None
    if old is None or _changed_rollout(deployment, old, name) or _moved(deployment, counts):
        return _condition(deployment, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now), deadline_s
    if old["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return old, None  # a finished rollout that lost pods is not a stalled rollout
    idle_s = age_s(old["lastUpdateTime"], now)
    if idle_s <= deadline_s:
        return old, deadline_s - idle_s + 1
    message = f"{subject} has timed out progressing."
    return _condition(deployment, "False", "ProgressDeadlineExceeded", message, now), None


def _changed_rollout(deployment: Object, old: Object, name: str) -> bool:
    return name != "" and f'"{name}"' not in old["message"]


def _moved(deployment: Object, counts: Object) -> bool:
    before = deployment.get("status") or {}

    def grew(field: str) -> bool:
        return bool(counts[field] > before.get(field, 0))

    outdated = counts["replicas"] - counts["updatedReplicas"]
    outdated_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return outdated < outdated_before or any(
        grew(field) for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _condition(deployment: Object, status: str, reason: str, message: str, now: datetime) -> Object:
    new = {"type": "Progressing", "status": status, "reason": reason, "message": message}
    return _dated(deployment, new, now)


def _dated(deployment: Object, new: Object, now: datetime) -> Object:
    """Moves lastUpdateTime when something new is said; a repeated ReplicaSetUpdated means a step."""
    old = condition_of(deployment, new["type"])
    same = old is not None and all(old.get(name) == value for name, value in new.items())
    if same and old is not None and new["reason"] != "ReplicaSetUpdated":
        return old
    return transitioned(old, new | {"lastUpdateTime": timestamp(now)}, now)


def changed_status(current: Object | None, new: Object) -> Object | None:
    """The merge patch that makes the current status the new one; None when they agree."""
    current = without_zeros(current or {})
    if current == new:
        return None
    return {name: None for name in current if name not in new} | new
