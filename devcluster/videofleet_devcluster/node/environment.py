"""The environment and the command line of a container, as a kubelet builds them. Pure.

What a reference lacks is a ConfigError in the kubelet's words, which becomes CreateContainerConfigError.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from videofleet_devcluster.client import CONFIG_MAPS, SECRETS, Resource
from videofleet_devcluster.objects import Object, annotations_of, key_of, labels_of

Find = Callable[[Resource, str, str], Object | None]
"""(kind, namespace, name) → the object as it is known now."""

_VARIABLE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_SERVED_FIELDS: Final = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.podIP",
)  # fmt: skip
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """The container cannot be made as things are; `reason` is the kubelet's word for it."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


def expanded(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value, `$$` by `$`; unknown names stay."""

    def value(match: re.Match[str]) -> str:
        return "$" if match.group() == "$$" else env.get(match.group(1), match.group())

    return _VARIABLE.sub(value, text)


def container_env(container: Object, pod: Object, find: Find, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables: inherited ones, then envFrom, then env in order. Raises ConfigError."""
    env = dict(inherited)
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        kind, reference = (SECRETS, "secretRef") if "secretRef" in source else (CONFIG_MAPS, "configMapRef")
        data = data_of(kind, source[reference], key_of(pod)[0], find) or {}
        env |= {prefix + name: value.decode() for name, value in data.items()}
    for entry in container.get("env") or []:
        value = _value(entry, pod, find, env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _value(entry: Object, pod: Object, find: Find, env: Mapping[str, str]) -> str | None:
    source: Object | None = entry.get("valueFrom")
    if source is None:
        return expanded(entry.get("value", ""), env)
    if "fieldRef" in source:
        return field_of(pod, source["fieldRef"]["fieldPath"])
    for name, kind in (("secretKeyRef", SECRETS), ("configMapKeyRef", CONFIG_MAPS)):
        if name in source:
            return _keyed(kind, source[name], key_of(pod)[0], find)
    raise ConfigError(f"valueFrom {', '.join(source)} of {entry['name']} is not supported by this node")


def _keyed(kind: Resource, reference: Object, namespace: str, find: Find) -> str | None:
    data = data_of(kind, reference, namespace, find)
    if data is not None and reference["key"] in data:
        return data[reference["key"]].decode()
    if reference.get("optional"):
        return None
    raise ConfigError(f"couldn't find key {reference['key']} in {kind.kind} {namespace}/{reference['name']}")


def data_of(kind: Resource, reference: Object, namespace: str, find: Find) -> dict[str, bytes] | None:
    """All keys of a Secret or ConfigMap; None for a missing optional one. Raises ConfigError."""
    name = reference.get("name") or reference["secretName"]
    obj = find(kind, namespace, name)
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.kind.lower()} "{name}" not found')
    data: dict[str, str] = obj.get("data") or {}
    if kind is SECRETS:
        return {key: base64.b64decode(text) for key, text in data.items()}
    binary = {key: base64.b64decode(text) for key, text in (obj.get("binaryData") or {}).items()}
    return {key: text.encode() for key, text in data.items()} | binary


def field_of(pod: Object, path: str) -> str:
    """A field by the downward API's path. Raises ConfigError for one that is not served."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        values = labels_of(pod) if subscript.group(1) == "labels" else annotations_of(pod)
        return values.get(subscript.group(2), "")
    value: Any = pod
    if path not in _SERVED_FIELDS:
        raise ConfigError(f"fieldPath {path} is not supported by this node")
    for part in path.split("."):
        value = value.get(part) or {}
    return str(value or "")


def service_env(services: list[Object], namespace: str) -> dict[str, str]:
    """NAME_SERVICE_HOST and NAME_SERVICE_PORT of the namespace's Services, and of `kubernetes`."""
    env: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports")
        if key_of(service) != ("default", "kubernetes") and key_of(service)[0] != namespace:
            continue
        if address in (None, "", "None") or not ports:
            continue
        prefix = key_of(service)[1].upper().replace("-", "_") + "_SERVICE_"
        env |= {f"{prefix}HOST": address, f"{prefix}PORT": str(ports[0]["port"])}
        for port in ports:
            if port.get("name"):
                env[f"{prefix}PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    return env
