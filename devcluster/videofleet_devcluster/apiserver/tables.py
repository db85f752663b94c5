"""Tables: the columns that `kubectl get` prints, for built-in kinds and by additionalPrinterColumns."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.objects import Object, is_deleting

Cell = Callable[[Object], Any]
Column = tuple[str, str, int, Cell]  # name, type, priority
_STEP: Final = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)|\['(?P<quoted>[^']+)'\]|\[(?P<index>\d+|\*)\]"""
    r"""|\[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
)


class Table:
    """The v1 Table of a resource's objects. `include` is includeObject: Metadata, Object or None."""

    def __init__(self, resource: Resource, include: str) -> None:
        own = (
            map(_printer_column, resource.columns) if resource.columns else [*_BUILT_IN.get(resource.plural, ()), _AGE]
        )
        self._columns, self._include = _EVENTS if resource.plural == "events" else [_NAME, *own], include

    def head(self, metadata: Object) -> Object:
        """All but the rows."""
        definitions = [
            {"name": name, "type": kind, "format": "name" * (name == "Name"), "description": "", "priority": rank}
            for name, kind, rank, _ in self._columns
        ]
        body: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return body | {"columnDefinitions": definitions}

    def row(self, obj: Object) -> Object:
        row: Object = {"cells": [cell(obj) for _, _, _, cell in self._columns]}
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        return row if self._include == "None" else row | {"object": obj if self._include == "Object" else head}


def _printer_column(column: Object) -> Column:
    def cell(obj: Object) -> Any:
        found = json_path(obj, column["jsonPath"])
        if not found:
            return None
        if column["type"] == "date":
            return age(found[0])
        return found[0] if column["type"] in ("integer", "number", "boolean") else ",".join(map(_text, found))

    return column["name"], column["type"], column.get("priority", 0), cell


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def json_path(obj: Any, path: str) -> list[Any]:
    """What a JSONPath of printer columns finds: fields, indices, [*] and [?(@.key=="value")]."""
    found = [obj]
    for step in _STEP.finditer(path):
        found = [value for item in found for value in _stepped(item, step)]
    return found


def _stepped(item: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        name = name.replace("\\.", ".")
        return [item[name]] if isinstance(item, dict) and item.get(name) is not None else []
    if not isinstance(item, list) or step["index"] == "*":
        return item if isinstance(item, list) else []
    if step["key"] is not None:
        return [entry for entry in item if json_path(entry, "." + step["key"]) == [step["value"]]]
    return item[int(step["index"]) :][:1]


def age(since: str | None) -> str:
    """How long ago, as kubectl writes it: 42s, 5m3s, 47m, 3h20m, 2d4h, 12d."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    # (unit, its length in s, how many of it are told with a rest, how many at most, unit of the rest, its length)
    for unit, length_s, with_rest, most, smaller, rest_s in (
        ("m", 60, 10, 180, "s", 1), ("h", 3600, 8, 48, "m", 60), ("d", 86400, 8, 730, "h", 3600),
    ):  # fmt: skip
        whole, rest = seconds // length_s, seconds % length_s // rest_s
        if whole < most:
            return f"{whole}{unit}{rest}{smaller}" if rest and whole < with_rest else f"{whole}{unit}"
    return f"{seconds // (365 * 86400)}y"


def _at(obj: Object, path: str, default: Any) -> Any:
    return next(iter(json_path(obj, path)), default)


def _pod_ready(pod: Object) -> str:
    ready = sum(bool(c.get("ready")) for c in pod.get("status", {}).get("containerStatuses", ()))
    return f"{ready}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Object) -> str:
    status = pod.get("status", {})
    if is_deleting(pod):
        return "Terminating"
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        if reason := (state.get("waiting") or state.get("terminated") or {}).get("reason"):
            return str(reason)
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Object) -> str:
    return str(sum(c.get("restartCount", 0) for c in pod.get("status", {}).get("containerStatuses", ())))


def _ports(service: Object) -> str:
    ports = service["spec"].get("ports") or ()
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _node_status(node: Object) -> str:
    ready = _at(node, '.status.conditions[?(@.type=="Ready")].status', "")
    text = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    return text + (",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else "")


def _event_object(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_age(event: Object) -> str:
    moments = (event.get(field) for field in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return age(next(filter(None, moments), event["metadata"].get("creationTimestamp")))


def _column(name: str, cell: Cell | str, default: Any = "", priority: int = 0) -> Column:
    return name, "string", priority, cell if callable(cell) else lambda obj: _at(obj, cell, default)


def _columns(**paths: str | tuple[str, Any] | Cell) -> list[Column]:
    """Columns called by their keywords, of JSONPaths, perhaps with a default, or of functions."""
    cells = {name.replace("_", " "): value for name, value in paths.items()}
    return [_column(name, *(value if isinstance(value, tuple) else (value,))) for name, value in cells.items()]


_AGE: Final = _column("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")))
_NAME: Final = _column("Name", ".metadata.name")
_NONE: Final = "<none>"
_EVENTS: Final = [  # the one table that begins with another column than the name
    *_columns(Last_Seen=_event_age, Type=".type", Reason=".reason", Object=_event_object, Message=".message"),
    _column("Count", ".count", 1, 1),
    _column("Name", ".metadata.name", "", 1),
]
_BUILT_IN: Final[dict[str, list[Column]]] = {
    "configmaps": _columns(Data=lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
    "deployments": [
        _column("Ready", lambda obj: f"{_at(obj, '.status.readyReplicas', 0)}/{_at(obj, '.spec.replicas', 0)}"),
        _column("Up-to-date", ".status.updatedReplicas", 0),
        _column("Available", ".status.availableReplicas", 0),
    ],
    "leases": _columns(Holder=".spec.holderIdentity"),
    "namespaces": _columns(Status=".status.phase"),
    "nodes": _columns(Status=_node_status, Version=".status.nodeInfo.kubeletVersion"),
    "persistentvolumeclaims": _columns(
        Status=".status.phase",
        Volume=".spec.volumeName",
        Capacity=".status.capacity.storage",
        StorageClass=".spec.storageClassName",
    ),
    "persistentvolumes": _columns(
        Capacity=".spec.capacity.storage", Status=".status.phase", Claim=".spec.claimRef.name"
    ),
    "poddisruptionbudgets": _columns(
        Min_Available=(".spec.minAvailable", "N/A"),
        Max_Unavailable=(".spec.maxUnavailable", "N/A"),
        Allowed_Disruptions=(".status.disruptionsAllowed", 0),
    ),
    "pods": [
        *_columns(Ready=_pod_ready, Status=_pod_status, Restarts=_restarts),
        _column("IP", ".status.podIP", _NONE, 1),
        _column("Node", ".spec.nodeName", _NONE, 1),
    ],
    "replicasets": _columns(
        Desired=(".spec.replicas", 0), Current=(".status.replicas", 0), Ready=(".status.readyReplicas", 0)
    ),
    "secrets": _columns(Type=".type", Data=lambda obj: len(obj.get("data") or ())),
    "services": [
        _column("Type", ".spec.type"),
        _column("Cluster-IP", ".spec.clusterIP", _NONE),
        _column("External-IP", lambda obj: _NONE),
        _column("Port(s)", _ports),
    ],
}
