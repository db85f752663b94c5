"""Which node a pod goes to, or why none: node selector, taints, cpu, memory, pods and extended resources.

`place` is pure; Scheduling keeps count of what the nodes carry and binds. The refusal reads as kube-scheduler's does,
because people and tools search for its words. Preemption does not exist.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from videofleet_devcluster.client import PODS, ApiClient, Recorder
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    ENDED,
    Key,
    Object,
    condition_of,
    is_deleting,
    is_true,
    key_of,
    labels_of,
    phase_of,
    quantity,
    status_of,
    uid_of,
    with_condition,
)

_FATAL_EFFECTS: Final = ("NoSchedule", "NoExecute")
_UNREADY: Final = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
_UNSCHEDULABLE: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Placement:
    """A node's name, or the reason why there is none."""

    node: str | None
    message: str = ""


class Scheduling:
    """Binds pods to nodes. What it has bound counts at once, before the watch says so."""

    def __init__(self, client: ApiClient, pods: Informer, nodes: Informer, claims: Informer) -> None:
        self._client, self._pods, self._nodes, self._claims = client, pods, nodes, claims
        self._events = Recorder(client, "default-scheduler")
        self._waiting: set[Key] = set()
        self._held: dict[str, tuple[str, dict[str, Fraction]]] = {}  # pod uid → its node and what it holds there
        self._used: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.loop = Loop("scheduler", self.pod)
        pods.listen(self._pod_changed)
        for informer in (nodes, claims):
            informer.listen(lambda _obj, _before: self._try_again())

    def _pod_changed(self, pod: Object, _: Object | None) -> None:
        key, node = key_of(pod), pod["spec"].get("nodeName")
        self._waiting.discard(key)
        if not self._pods.holds(pod) or phase_of(pod) in ENDED:
            self._release(uid_of(pod))
        elif node:
            self._hold(pod, node)
        else:
            self._waiting.add(key)
            self.loop.add(key)

    def _hold(self, pod: Object, node: str) -> None:
        if uid_of(pod) not in self._held:
            self._held[uid_of(pod)] = node, requests_of(pod)
            self._used[node].update(requests_of(pod))

    def _release(self, uid: str) -> None:
        if uid in self._held:
            node, requests = self._held.pop(uid)
            self._used[node].subtract(requests)
            self._try_again()

    def _try_again(self) -> None:
        for key in self._waiting:
            self.loop.add(key)

    async def pod(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None or pod["spec"].get("nodeName") or is_deleting(pod) or uid_of(pod) in self._held:
            return None
        if pod["spec"].get("schedulerName") != "default-scheduler":
            return None  # somebody else's
        placement = place(pod, self._nodes.all(), self._used, self._claims.all(key[0]))
        if placement.node is None:
            await self._refuse(pod, placement.message)
        else:
            await self._bind(pod, placement.node)
        return None

    async def _bind(self, pod: Object, node: str) -> None:
        namespace, name = key_of(pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self._client.request("POST", PODS.path(namespace, name, "binding"), binding)
        if self._pods.holds(pod):
            self._hold(pod, node)
        await self._events.record(pod, PODS, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")

    async def _refuse(self, pod: Object, why: str) -> None:
        old = condition_of(pod, "PodScheduled")
        new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        if old is None or old | new != old:
            status = {"phase": "Pending", "conditions": with_condition(pod, new, datetime.now(UTC))}
            await self._pods.patch(pod, {"status": status}, "status")
            await self._events.record(pod, PODS, "FailedScheduling", why, warning=True)


def place(pod: Object, nodes: list[Object], used: Mapping[str, Counter[str]], claims: list[Object]) -> Placement:
    """The least loaded node that can take the pod. `used`: node → what its pods hold; `claims`: of the namespace."""
    if not nodes:
        return Placement(None, "no nodes available to schedule pods")
    if blocked := _claim_problem(pod, claims):
        return Placement(None, _refusal([blocked], 0, len(nodes)))
    wanted, fitting, refusals, full = requests_of(pod), list[tuple[Fraction, str]](), Counter[str](), 0
    for node in nodes:
        carried = used.get(node["metadata"]["name"]) or Counter[str]()
        closed = _closed(pod, node)
        reasons = [closed] if closed else _shortages(wanted, node, carried)
        refusals.update(reasons)
        full += bool(reasons) and not closed
        if not reasons:
            fitting.append((Fraction(carried["pods"]), node["metadata"]["name"]))
    if fitting:
        return Placement(min(fitting)[1])
    return Placement(None, _refusal(sorted(f"{n} {why}" for why, n in refusals.items()), full, len(nodes)))


def requests_of(pod: Object) -> dict[str, Fraction]:
    """What the pod asks for: the sum of its containers, or the biggest init container if that is more."""
    total: dict[str, Fraction] = {"pods": Fraction(1)}
    for container in pod["spec"]["containers"]:
        for name, amount in _requests(container).items():
            total[name] = total.get(name, Fraction(0)) + amount
    for container in pod["spec"].get("initContainers") or []:
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, Fraction(0)), amount)
    return total


def _requests(container: Object) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    wanted = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return {name: quantity(text) for name, text in wanted.items()}


def _closed(pod: Object, node: Object) -> str:
    """Why the node would not take the pod even if it were empty, in the words that the scheduler counts."""
    if node["spec"].get("unschedulable") and not toleration_of(pod, _UNSCHEDULABLE):
        return "node(s) were unschedulable"
    for taint in [*(node["spec"].get("taints") or []), *([] if is_true(node, "Ready") else [_UNREADY])]:
        if taint["effect"] in _FATAL_EFFECTS and not toleration_of(pod, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    selector = pod["spec"].get("nodeSelector") or {}
    return "" if selector.items() <= labels_of(node).items() else "node(s) didn't match Pod's node affinity/selector"


def _shortages(wanted: dict[str, Fraction], node: Object, used: Counter[str]) -> list[str]:
    room = {name: quantity(text) for name, text in (status_of(node).get("allocatable") or {}).items()}
    return [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, amount in wanted.items()
        if amount > room.get(name, 0) - used[name]
    ]


def toleration_of(pod: Object, taint: Object) -> Object | None:
    """The pod's first toleration of the taint."""
    for toleration in pod["spec"].get("tolerations") or []:
        key, value = toleration.get("key"), toleration.get("value", "")
        is_any = toleration.get("operator") == "Exists" and key in (None, "", taint["key"])
        is_same = toleration.get("operator") != "Exists" and (key, value) == (taint["key"], taint.get("value", ""))
        if (is_any or is_same) and toleration.get("effect") in (None, "", taint["effect"]):
            return dict(toleration)
    return None


def _claim_problem(pod: Object, claims: list[Object]) -> str:
    by_name = {key_of(claim)[1]: claim for claim in claims}
    for volume in pod["spec"].get("volumes") or []:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if name is not None and name not in by_name:
            return f'persistentvolumeclaim "{name}" not found'
        if name is not None and phase_of(by_name[name]) != "Bound":
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def _refusal(reasons: list[str], full: int, nodes: int) -> str:
    """`full` of the nodes would do if somebody left; there is nobody whom a pod may push out."""
    verdicts = [(full, "No preemption victims found for incoming pod")]
    verdicts.append((nodes - full, "Preemption is not helpful for scheduling"))
    preemption = ", ".join(f"{count} {verdict}" for count, verdict in verdicts if count)
    available = f"0/{nodes} nodes are available"
    return f"{available}: {', '.join(reasons)}. preemption: {available}: {preemption}."
