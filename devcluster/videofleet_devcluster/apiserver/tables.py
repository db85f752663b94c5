"""Tables: the columns that `kubectl get` prints, for built-in kinds and by additionalPrinterColumns."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.resources import Resource

Cell = Callable[[Object], Any]
_STEP: Final = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)|\['(?P<quoted>[^']+)'\]|\[(?P<index>\d+|\*)\]"""
    r"""|\[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
)


def table(resource: Resource, objects: list[Object], metadata: Object, include: str) -> Object:
    """The v1 Table of objects. `include` is includeObject: Metadata, Object or None."""
    columns = _columns(resource)
    rows = [_row(obj, columns, include) for obj in objects]
    definitions = [
        {
            "name": name,
            "type": kind,
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, kind, priority, _ in columns
    ]
    body: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return body | {"columnDefinitions": definitions, "rows": rows}


def _row(obj: Object, columns: list["Column"], include: str) -> Object:
    row: Object = {"cells": [cell(obj) for _, _, _, cell in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        row["object"] = head | {"metadata": obj["metadata"]}
    return row


Column = tuple[str, str, int, Cell]


def _columns(resource: Resource) -> list[Column]:
    name: Column = ("Name", "string", 0, lambda obj: obj["metadata"]["name"])
    if resource.columns:
        return [name, *(_printer_column(column) for column in resource.columns)]
    return [name, *_BUILT_IN.get(resource.plural, []), _AGE] if not resource.is_custom else [name, _AGE]


def _printer_column(column: Object) -> Column:
    path = column["jsonPath"]

    def cell(obj: Object) -> Any:
        found = json_path(obj, path)
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
    if not isinstance(item, list):
        return []
    if step["key"] is not None:
        return [entry for entry in item if json_path(entry, "." + step["key"]) == [step["value"]]]
    if step["index"] == "*":
        return item
    return item[int(step["index"]) :][:1]


def age(since: str | None) -> str:
    """How long ago, as kubectl writes it: 42s, 5m3s, 47m, 3h20m, 2d4h, 12d."""
    if not since:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _get(path: str, default: Any = "") -> Cell:
    def cell(obj: Object) -> Any:
        found = json_path(obj, path)
        return found[0] if found else default

    return cell


def _pod_ready(pod: Object) -> str:
    ready = sum(bool(c.get("ready")) for c in pod.get("status", {}).get("containerStatuses", ()))
    return f"{ready}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Object) -> str:
    status = pod.get("status", {})
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Object) -> str:
    return str(sum(c.get("restartCount", 0) for c in pod.get("status", {}).get("containerStatuses", ())))


def _deployment_ready(obj: Object) -> str:
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 0)}"


def _ports(service: Object) -> str:
    ports = service["spec"].get("ports") or ()
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _node_status(node: Object) -> str:
    ready = json_path(node, '.status.conditions[?(@.type=="Ready")].status')
    text = {"True": "Ready", "False": "NotReady"}.get(ready[0] if ready else "", "Unknown")
    return text + (",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else "")


def _count(field: str) -> Cell:
    return lambda obj: len(obj.get(field) or ())


def _event_object(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_age(event: Object) -> str:
    moments = (event.get(field) for field in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return age(next(filter(None, moments), event["metadata"].get("creationTimestamp")))


def _s(name: str, cell: Cell, priority: int = 0) -> Column:
    return name, "string", priority, cell


_AGE: Final[Column] = _s("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")))
_NONE: Final = "<none>"
_BUILT_IN: Final[dict[str, list[Column]]] = {
    "configmaps": [_s("Data", lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()))],
    "deployments": [
        _s("Ready", _deployment_ready),
        _s("Up-to-date", _get(".status.updatedReplicas", 0)),
        _s("Available", _get(".status.availableReplicas", 0)),
    ],
    "events": [
        _s("Last Seen", _event_age),
        _s("Type", _get(".type")),
        _s("Reason", _get(".reason")),
        _s("Object", _event_object),
        _s("Message", _get(".message")),
    ],
    "leases": [_s("Holder", _get(".spec.holderIdentity"))],
    "namespaces": [_s("Status", _get(".status.phase"))],
    "nodes": [_s("Status", _node_status), _s("Version", _get(".status.nodeInfo.kubeletVersion"))],
    "persistentvolumeclaims": [
        _s("Status", _get(".status.phase")),
        _s("Volume", _get(".spec.volumeName")),
        _s("Capacity", _get(".status.capacity.storage")),
        _s("StorageClass", _get(".spec.storageClassName")),
    ],
    "persistentvolumes": [
        _s("Capacity", _get(".spec.capacity.storage")),
        _s("Status", _get(".status.phase")),
        _s("Claim", _get(".spec.claimRef.name")),
    ],
    "pods": [
        _s("Ready", _pod_ready),
        _s("Status", _pod_status),
        _s("Restarts", _restarts),
        _s("IP", _get(".status.podIP", _NONE), 1),
        _s("Node", _get(".spec.nodeName", _NONE), 1),
    ],
    "replicasets": [
        _s("Desired", _get(".spec.replicas", 0)),
        _s("Current", _get(".status.replicas", 0)),
        _s("Ready", _get(".status.readyReplicas", 0)),
    ],
    "secrets": [_s("Type", _get(".type")), _s("Data", _count("data"))],
    "serviceaccounts": [_s("Secrets", _count("secrets"))],
    "services": [
        _s("Type", _get(".spec.type")),
        _s("Cluster-IP", _get(".spec.clusterIP", _NONE)),
        _s("External-IP", lambda obj: _NONE),
        _s("Port(s)", _ports),
    ],
}
