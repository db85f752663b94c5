"""Which node a pod goes to, or why none: node selector, taints, cpu, memory, pods and extended resources.
Pure.

The refusal reads as kube-scheduler's does, because people and tools search for its words. Preemption does
not exist.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from videofleet_devcluster.controllers.replicaset import phase_of
from videofleet_devcluster.objects import Object, is_true, key_of, labels_of, quantity

_FATAL_EFFECTS: Final = ("NoSchedule", "NoExecute")
_UNREADY: Final = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Placement:
    """A node's name, or the reason why there is none."""

    node: str | None
    message: str


def place(pod: Object, nodes: list[Object], pods: list[Object], claims: list[Object]) -> Placement:
    """The least loaded node that can take the pod.

    Args:
        pod: the pod without a node.
        nodes: all nodes.
        pods: all pods, for what nodes already carry.
        claims: the PersistentVolumeClaims of the pod's namespace.
    """
    if not nodes:
        return Placement(None, "no nodes available to schedule pods")
    blocked = _claim_problem(pod, claims)
    if blocked:
        return Placement(None, _refusal(len(nodes), [blocked], helpless=True))
    used = {node["metadata"]["name"]: _used(node, pods) for node in nodes}
    reasons = {node["metadata"]["name"]: _reasons(pod, node, used[node["metadata"]["name"]]) for node in nodes}
    fitting = [node for node in nodes if not reasons[node["metadata"]["name"]]]
    if fitting:
        best = min(fitting, key=lambda node: (used[node["metadata"]["name"]]["pods"], node["metadata"]["name"]))
        return Placement(best["metadata"]["name"], "")
    counted = Counter(reason for found in reasons.values() for reason in found)
    texts = [f"{count} {reason}" for reason, count in sorted(counted.items())]
    return Placement(None, _refusal(len(nodes), texts, helpless=not any("Insufficient" in text for text in texts)))


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


def _used(node: Object, pods: list[Object]) -> Counter[str]:
    used: Counter[str] = Counter()
    for pod in pods:
        if pod["spec"].get("nodeName") == node["metadata"]["name"] and phase_of(pod) not in (
            "Succeeded",
            "Failed",
        ):
            used.update(requests_of(pod))
    return used


def _reasons(pod: Object, node: Object, used: Counter[str]) -> list[str]:
    """Why the node cannot take the pod, in the words that the scheduler counts."""
    if node["spec"].get("unschedulable"):
        return ["node(s) were unschedulable"]
    taints = list(node["spec"].get("taints") or [])
    if not is_true(node, "Ready"):
        taints.append(_UNREADY)
    for taint in taints:
        if taint["effect"] in _FATAL_EFFECTS and not _tolerated(pod, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    selector = pod["spec"].get("nodeSelector") or {}
    if not selector.items() <= labels_of(node).items():
        return ["node(s) didn't match Pod's node affinity/selector"]
    room = {name: quantity(text) for name, text in ((node.get("status") or {}).get("allocatable") or {}).items()}
    return [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, amount in requests_of(pod).items()
        if amount > room.get(name, 0) - used[name]
    ]


def _tolerated(pod: Object, taint: Object) -> bool:
    for toleration in pod["spec"].get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        if toleration.get("operator") == "Exists" and toleration.get("key") in (None, "", taint["key"]):
            return True
        if toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def _claim_problem(pod: Object, claims: list[Object]) -> str:
    by_name = {key_of(claim)[1]: claim for claim in claims}
    for volume in pod["spec"].get("volumes") or []:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if name is None:
            continue
        if name not in by_name:
            return f'persistentvolumeclaim "{name}" not found'
        if phase_of(by_name[name]) != "Bound":
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def _refusal(nodes: int, reasons: list[str], helpless: bool) -> str:
    head = f"0/{nodes} nodes are available: {', '.join(reasons)}."
    verdict = (
        "Preemption is not helpful for scheduling." if helpless else "No preemption victims found for incoming pod."
    )
    return f"{head} preemption: 0/{nodes} nodes are available: {nodes} {verdict}"
