"""How many pods may be evicted now: the status of PodDisruptionBudgets.

`plan_budget` is pure. The API server's eviction takes from `disruptionsAllowed` and notes the pod in
`disruptedPods`; here that note is dropped when the pod is really leaving, or when two minutes later it is not.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from videofleet_devcluster.client import BUDGETS, ApiClient
from videofleet_devcluster.controllers.deployment_status import changed_status
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.controllers.replicaset import is_active
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    age_s,
    condition_of,
    controller_of,
    is_true,
    key_of,
    labels_of,
    selects,
    transitioned,
)

_FORGOTTEN_S: Final = 120.0


class Budgets:
    """Keeps the status of every PodDisruptionBudget."""

    def __init__(self, client: ApiClient, budgets: Informer, pods: Informer, replica_sets: Informer) -> None:
        self._client, self._budgets, self._pods, self._replica_sets = client, budgets, pods, replica_sets
        self.loop = Loop("disruption", self.budget)
        budgets.listen(lambda budget, _: self.loop.add(key_of(budget)))
        for informer in (pods, replica_sets):
            informer.listen(lambda obj, _: self._count_again(key_of(obj)[0]))

    def _count_again(self, namespace: str) -> None:
        for budget in self._budgets.all(namespace):
            self.loop.add(key_of(budget))

    async def budget(self, key: Key) -> float | None:
        """Writes what changed for one budget."""
        budget = self._budgets.get(key)
        if budget is None:
            return None
        sizes = {rs["metadata"]["uid"]: int(rs["spec"]["replicas"]) for rs in self._replica_sets.all(key[0])}
        status = plan_budget(budget, self._pods.all(key[0]), sizes, datetime.now(UTC))
        change = changed_status(budget.get("status"), status)
        if change is not None:
            version = {"resourceVersion": budget["metadata"]["resourceVersion"]}  # an eviction may have taken one since
            patch = {"metadata": version, "status": change}
            self._budgets.observe(await self._client.patch(BUDGETS, *key, patch, "status"))
        return _FORGOTTEN_S if status["disruptedPods"] else None


def plan_budget(budget: Object, pods: list[Object], sizes: Mapping[str, int], now: datetime) -> Object:
    """The status to publish.

    Args:
        budget: as the API server stores it.
        pods: those of its namespace.
        sizes: ReplicaSet uid → how many pods it wants.
        now: the clock.
    """
    selector, old = budget["spec"].get("selector"), budget.get("status") or {}
    mine = [pod for pod in pods if selector is not None and selects(selector, labels_of(pod)) and is_active(pod)]
    names = {key_of(pod)[1] for pod in mine}
    noted: dict[str, str] = old.get("disruptedPods") or {}
    disrupted = {name: at for name, at in noted.items() if name in names and age_s(at, now) < _FORGOTTEN_S}
    healthy = sum(is_true(pod, "Ready") and key_of(pod)[1] not in disrupted for pod in mine)
    expected, desired = _wanted(budget["spec"], mine, sizes)
    allowed = max(0, healthy - desired) if expected else 0
    word = "Sufficient" if allowed else "Insufficient"
    condition = {"type": "DisruptionAllowed", "status": "True" if allowed else "False", "reason": f"{word}Pods"}
    generation = budget["metadata"].get("generation", 1)
    known = condition_of(budget, "DisruptionAllowed")
    return {
        "observedGeneration": generation,
        "expectedPods": expected,
        "desiredHealthy": desired,
        "currentHealthy": healthy,
        "disruptionsAllowed": allowed,
        "disruptedPods": disrupted,
        "conditions": [transitioned(known, condition | {"message": "", "observedGeneration": generation}, now)],
    }


def _wanted(spec: Object, pods: list[Object], sizes: Mapping[str, int]) -> tuple[int, int]:
    """(pods expected, pods that must stay healthy). Shares round up, and are of what the controllers want.

    >>> _wanted({"minAvailable": 2}, [{}] * 3, {})
    (3, 2)
    """
    least = spec.get("minAvailable")
    if least is not None and not isinstance(least, str):
        return len(pods), int(least)
    owners = {owner["uid"] for pod in pods if (owner := controller_of(pod)) is not None}
    expected = sum(sizes.get(uid, 0) for uid in owners)
    if least is not None:
        return expected, _share(least, expected)
    return expected, max(0, expected - _share(spec.get("maxUnavailable", 0), expected))


def _share(share: int | str, whole: int) -> int:
    return math.ceil(int(share.rstrip("%")) * whole / 100) if isinstance(share, str) else share
