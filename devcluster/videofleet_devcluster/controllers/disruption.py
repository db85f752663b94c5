"""How many pods may be evicted now: the status of PodDisruptionBudgets.

`plan_budget` is pure. The API server's eviction takes from `disruptionsAllowed` and notes the pod in `disruptedPods`;
here that note is dropped when the pod is really leaving, or when two minutes later it is not.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    age_s,
    controller_of,
    is_active,
    is_true,
    key_of,
    labels_of,
    selects,
    status_of,
    uid_of,
    with_condition,
)

_FORGOTTEN_S: Final = 120.0


class Budgets:
    """Keeps the status of every PodDisruptionBudget."""

    def __init__(self, budgets: Informer, pods: Informer, replica_sets: Informer) -> None:
        self._budgets, self._pods, self._replica_sets = budgets, pods, replica_sets
        self.loop = Loop("disruption", self.budget)
        budgets.listen(self.loop.hear)
        for informer in (pods, replica_sets):
            informer.listen(lambda obj, _: self._count_again(key_of(obj)[0]))

    def _count_again(self, namespace: str) -> None:
        for budget in self._budgets.all(namespace):
            self.loop.hear(budget)

    async def budget(self, key: Key) -> float | None:
        budget = self._budgets.get(key)
        if budget is None:
            return None
        sizes = {uid_of(rs): int(rs["spec"]["replicas"]) for rs in self._replica_sets.all(key[0])}
        status = plan_budget(budget, self._pods.all(key[0]), sizes, datetime.now(UTC))
        known = status_of(budget)
        if status != known:
            gone = dict.fromkeys((known.get("disruptedPods") or {}).keys() - status["disruptedPods"].keys())
            version = {"resourceVersion": budget["metadata"]["resourceVersion"]}  # an eviction may have taken one since
            change = status | {"disruptedPods": gone | status["disruptedPods"]}
            await self._budgets.patch(budget, {"metadata": version, "status": change}, "status")
        return _FORGOTTEN_S if status["disruptedPods"] else None


def plan_budget(budget: Object, pods: list[Object], sizes: Mapping[str, int], now: datetime) -> Object:
    """The status to publish, from the namespace's pods. `sizes`: ReplicaSet uid → how many pods it wants."""
    selector, noted = budget["spec"].get("selector"), status_of(budget).get("disruptedPods") or {}
    mine = [pod for pod in pods if selector is not None and selects(selector, labels_of(pod)) and is_active(pod)]
    names = {key_of(pod)[1] for pod in mine}
    disrupted = {name: at for name, at in noted.items() if name in names and age_s(at, now) < _FORGOTTEN_S}
    healthy = sum(is_true(pod, "Ready") and key_of(pod)[1] not in disrupted for pod in mine)
    expected, desired = _wanted(budget["spec"], mine, sizes)
    allowed = max(0, healthy - desired) if expected else 0
    generation = {"observedGeneration": budget["metadata"].get("generation", 1)}
    verdict = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    condition = {"type": "DisruptionAllowed", "status": verdict[0], "reason": verdict[1], "message": ""}
    return generation | {
        "expectedPods": expected,
        "desiredHealthy": desired,
        "currentHealthy": healthy,
        "disruptionsAllowed": allowed,
        "disruptedPods": disrupted,
        "conditions": with_condition(budget, condition | generation, now),
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
