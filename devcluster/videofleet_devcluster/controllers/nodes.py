"""Nodes that fall silent, are cordoned or tainted, and what becomes of their pods.

A node whose Lease and status have not moved for the grace is Ready=Unknown and tainted as unreachable; a NoExecute
taint deletes each pod once its toleration has run out; pods of a node that was deleted are removed for good.
`taints_of` and `eviction_in_s` are pure. Times of beats are our own clock's: two machines may disagree.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from videofleet_devcluster.client import NODES, PODS, ApiClient, Recorder
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.controllers.scheduler import toleration_of
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    age_s,
    condition_of,
    is_active,
    is_true,
    key_of,
    timestamp,
    uid_of,
    with_condition,
)

_PREFIX: Final = "node.kubernetes.io/"
_OWN: Final = tuple(_PREFIX + word for word in ("unschedulable", "unreachable", "not-ready"))
_SILENT: Final = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "NodeStatusUnknown",
    "message": "Kubelet stopped posting node status.",
}


class Nodes:
    """Reconciles nodes and the pods on them."""

    def __init__(self, client: ApiClient, nodes: Informer, leases: Informer, pods: Informer, grace_s: float) -> None:
        self._client, self._nodes, self._pods, self._grace_s = client, nodes, pods, grace_s
        self._events = Recorder(client, "node-controller")
        self._heard: dict[str, float] = {}  # node → when it last gave a sign, by the event loop's clock
        self.loop = Loop("node", self.node)
        nodes.listen(self._node_changed)
        leases.listen(lambda lease, _: self._hear(lease["metadata"]["name"]))
        pods.listen(self._pod_changed)

    def _hear(self, name: str) -> None:
        if self._nodes.get(("", name)) is not None:
            self._heard[name] = asyncio.get_running_loop().time()

    def _node_changed(self, node: Object, before: Object | None) -> None:
        name = node["metadata"]["name"]
        if self._nodes.get(("", name)) is None:
            self._heard.pop(name, None)  # its pods have the grace from now on
        elif before is None or _heartbeat(node) != _heartbeat(before):
            self._hear(name)
        self.loop.hear(node)

    def _pod_changed(self, pod: Object, before: Object | None) -> None:
        name = pod["spec"].get("nodeName")
        if name and (before is None or not before["spec"].get("nodeName")):
            node = self._nodes.get(("", name))
            if node is None or _expelling(node):
                self.loop.add(("", name))

    async def node(self, key: Key) -> float | None:
        """One look at one node; in how many seconds the next is due."""
        node, name, now = self._nodes.get(key), key[1], asyncio.get_running_loop().time()
        silent_s = now - self._heard.setdefault(name, now)
        if node is None:
            if silent_s < self._grace_s:
                return self._grace_s - silent_s
            await self._forget(name)
            return None
        if silent_s >= self._grace_s and (condition_of(node, "Ready") or {}).get("status") != "Unknown":
            node = await self._declare_lost(node)
        wanted = taints_of(node, datetime.now(UTC))
        if wanted != (node["spec"].get("taints") or []):
            seen = {"resourceVersion": node["metadata"]["resourceVersion"]}  # taints that came since must not go
            node = await self._nodes.patch(node, {"metadata": seen, "spec": {"taints": wanted}})
        due_s = await self._expel(node) if _expelling(node) else None
        rest_s = max(self._grace_s - silent_s, 0) + 0.05 if is_true(node, "Ready") else None
        return min((s for s in (due_s, rest_s) if s is not None), default=None)

    def _on(self, name: str) -> list[Object]:
        return [pod for pod in self._pods.all() if pod["spec"].get("nodeName") == name]

    async def _declare_lost(self, node: Object) -> Object:
        name, now = node["metadata"]["name"], datetime.now(UTC)
        node = await self._nodes.patch(node, {"status": {"conditions": with_condition(node, _SILENT, now)}}, "status")
        await self._events.record(node, NODES, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        for pod in self._on(name):
            if is_true(pod, "Ready"):
                conditions = with_condition(pod, {"type": "Ready", "status": "False"}, now)
                await self._pods.patch(pod, {"status": {"conditions": conditions}}, "status")
        return node

    async def _expel(self, node: Object) -> float | None:
        """Deletes the pods whose toleration of the node's taints has run out; seconds until the next one."""
        due: list[float] = []
        for pod in filter(is_active, self._on(node["metadata"]["name"])):
            in_s = eviction_in_s(pod, node, datetime.now(UTC))
            if in_s is not None and in_s <= 0:
                message = f"Marking for deletion Pod {'/'.join(key_of(pod))}"
                await self._events.record(pod, PODS, "TaintManagerEviction", message)
                await self._client.delete(PODS, *key_of(pod), uid=uid_of(pod))
            elif in_s is not None:
                due.append(in_s)
        return min(due, default=None)

    async def _forget(self, name: str) -> None:
        """The node is gone for good, and with it whatever ran there."""
        self._heard.pop(name, None)
        for pod in self._on(name):
            await self._client.delete(PODS, *key_of(pod), uid=uid_of(pod), grace_s=0)


def taints_of(node: Object, now: datetime) -> list[Object]:
    """The taints that the node should have: other people's, and those that say how it fares."""
    ready = (condition_of(node, "Ready") or {}).get("status", "Unknown")
    wanted = [("unschedulable", "NoSchedule")] if node["spec"].get("unschedulable") else []
    if ready != "True":
        word = "unreachable" if ready == "Unknown" else "not-ready"
        wanted += [(word, "NoSchedule"), (word, "NoExecute")]
    present = [_dated(taint, now) for taint in node["spec"].get("taints") or []]
    found = {(taint["key"], taint["effect"]): taint for taint in present}
    own = [
        found.get((_PREFIX + word, effect)) or _dated({"key": _PREFIX + word, "effect": effect}, now)
        for word, effect in wanted
    ]
    return [taint for taint in present if taint["key"] not in _OWN] + own


def _dated(taint: Object, now: datetime) -> Object:
    """Tolerations run from the moment that a NoExecute taint was first seen."""
    return {"timeAdded": timestamp(now)} | taint if taint["effect"] == "NoExecute" else taint


def eviction_in_s(pod: Object, node: Object, now: datetime) -> float | None:
    """Seconds until the node's NoExecute taints drive the pod out, 0 or less for now; None for never."""
    limits: list[float] = []
    for taint in _expelling(node):
        toleration = toleration_of(pod, taint)
        if toleration is None:
            return 0
        if toleration.get("tolerationSeconds") is not None:
            since_s = age_s(taint["timeAdded"], now) if "timeAdded" in taint else 0
            limits.append(float(toleration["tolerationSeconds"]) - since_s)
    return min(limits, default=None)


def _expelling(node: Object) -> list[Object]:
    return [taint for taint in node["spec"].get("taints") or [] if taint["effect"] == "NoExecute"]


def _heartbeat(node: Object) -> str:
    return str((condition_of(node, "Ready") or {}).get("lastHeartbeatTime", ""))
