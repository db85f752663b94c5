"""Eviction of pods within the limits of PodDisruptionBudgets, as `kubectl drain` asks for it.

A budget's status says how many disruptions are allowed; a granted eviction takes one and notes the pod, so that two
evictions never share it. The disruption controller sets the number anew.
"""

from typing import Any, Final

from videofleet_devcluster.apiserver.errors import ApiError
from videofleet_devcluster.apiserver.objects import Key, Object, timestamp
from videofleet_devcluster.apiserver.removal import DeleteOptions
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes
from videofleet_devcluster.objects import is_true, labels_of, selects

_BUDGETS: Final = ("policy", "poddisruptionbudgets")
_UNGUARDED: Final = ("Succeeded", "Failed", "Pending")
_SUCCESS: Final = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def evict(writes: Writes, pods: Resource, key: Key, eviction: Object, options: WriteOptions) -> Object:
    """POST pods/NAME/eviction. Raises: ApiError 404, 429 when the budget is spent, 500 when there are two."""
    pod = writes.live(pods, key)
    asked = eviction.get("deleteOptions") or {}
    options.dry_run = options.dry_run or bool(asked.get("dryRun"))
    budget = None if _is_unguarded(pod) else _budget_of(writes, pod)
    if budget is not None and not _is_broken(pod, budget):
        _check(budget)
        if not options.dry_run:
            _take(writes, budget, key[1])
    writes.delete(pods, key, DeleteOptions.from_json(asked), options)
    return _SUCCESS


def _is_unguarded(pod: Object) -> bool:
    return pod["status"].get("phase") in _UNGUARDED or "deletionTimestamp" in pod["metadata"]


def _budget_of(writes: Writes, pod: Object) -> Object | None:
    found = writes.store.listed(_BUDGETS, pod["metadata"]["namespace"])
    matching = [b for b in found if "selector" in b["spec"] and selects(b["spec"]["selector"], labels_of(pod))]
    if len(matching) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    return matching[0] if matching else None


def _is_broken(pod: Object, budget: Object) -> bool:
    """Whether the pod, not being Ready, may go without counting."""
    if is_true(pod, "Ready"):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return bool(0 < status.get("desiredHealthy", 0) <= status.get("currentHealthy", 0))


def _check(budget: Object) -> None:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", 10)
    if status.get("disruptionsAllowed", 0) <= 0:
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _refusal(f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently", 0)


def _refusal(why: str, after_s: int) -> ApiError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    details |= {"retryAfterSeconds": after_s} if after_s else {}
    headers = {"Retry-After": str(after_s)} if after_s else {}
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", message, details, headers)


def _take(writes: Writes, budget: Object, pod: str) -> None:
    def count(obj: Object) -> Object:
        status = obj["status"]
        status["disruptionsAllowed"] -= 1
        status["disruptedPods"] = (status.get("disruptedPods") or {}) | {pod: timestamp()}
        return obj

    budgets = writes.registry.find("policy", "v1", "poddisruptionbudgets")
    assert budgets is not None, "a built-in resource"  # noqa: S101 - for mypy
    key = budget["metadata"]["namespace"], budget["metadata"]["name"]
    writes.patch(budgets, key, count, WriteOptions("kube-apiserver", subresource="status"))
