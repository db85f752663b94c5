"""The bodies that kubectl sends as protobuf only: those of `create`, `auth can-i` and `drain`; and Helm's releases.

Field numbers are those of Kubernetes' generated.proto. A kind that is not here, or a field with content that is not, is
refused with 415, never dropped in silence. Answers are always JSON.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import bad_request
from videofleet_devcluster.objects import Object

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_MESSAGE: Final = 2  # wire type of strings and messages

Fields = dict[int, tuple[str, Any]]
"""Number → name and: a kind of `_value`, the fields of a message, or either in a list when it is repeated."""


class _UnknownField(Exception):
    """Something that would be lost."""


def _texts(*names: str) -> Fields:
    return {number: (name, "text") for number, name in enumerate(names, start=1)}


_META: Final[Fields] = {
    1: ("name", "text"), 2: ("generateName", "text"), 3: ("namespace", "text"), 5: ("uid", "text"),
    6: ("resourceVersion", "text"), 11: ("labels", "map"), 12: ("annotations", "map"),
}  # fmt: skip
_DELETE: Final[Fields] = {
    1: ("gracePeriodSeconds", "number"), 2: ("preconditions", _texts("uid", "resourceVersion")),
    4: ("propagationPolicy", "text"), 5: ("dryRun", ["text"]),
}  # fmt: skip
_ATTRIBUTES: Final = _texts("namespace", "verb", "group", "version", "resource", "subresource", "name")
_REVIEW: Final[Fields] = {
    1: ("resourceAttributes", _ATTRIBUTES), 2: ("nonResourceAttributes", _texts("path", "verb"))
}  # fmt: skip
_RULES: Final[Fields] = {
    number: (name, ["text"])
    for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), start=1)
}
_ROLE: Final[Fields] = {2: ("rules", [_RULES])}
_BINDING: Final[Fields] = {
    2: ("subjects", [_texts("kind", "apiGroup", "name", "namespace")]),
    3: ("roleRef", _texts("apiGroup", "kind", "name")),
}
_SELECTOR: Final[Fields] = {1: ("matchLabels", "map")}
_PORT: Final[Fields] = {
    1: ("name", "text"),
    2: ("hostPort", "count"),
    3: ("containerPort", "count"),
    4: ("protocol", "text"),
}
_CONTAINER: Final[Fields] = _texts("name", "image") | {
    3: ("command", ["text"]), 4: ("args", ["text"]), 6: ("ports", [_PORT]), 7: ("env", [_texts("name", "value")])
}  # fmt: skip
_TEMPLATE: Final[Fields] = {1: ("metadata", _META), 2: ("spec", {2: ("containers", [_CONTAINER])})}
_DEPLOYMENT: Final[Fields] = {1: ("replicas", "number"), 2: ("selector", _SELECTOR), 3: ("template", _TEMPLATE)}
_SERVICE_PORT: Final[Fields] = {
    1: ("name", "text"), 2: ("protocol", "text"), 3: ("port", "count"), 4: ("targetPort", "int-or-string"),
    5: ("nodePort", "count"),
}  # fmt: skip
_SERVICE: Final[Fields] = {
    1: ("ports", [_SERVICE_PORT]), 2: ("selector", "map"), 3: ("clusterIP", "text"), 4: ("type", "text"),
    10: ("externalName", "text"),
}  # fmt: skip
_BUDGET: Final[Fields] = {
    1: ("minAvailable", "int-or-string"), 2: ("selector", _SELECTOR), 3: ("maxUnavailable", "int-or-string"),
}  # fmt: skip
_TOKEN: Final[Fields] = {1: ("audiences", ["text"]), 4: ("expirationSeconds", "number")}
_KINDS: Final[dict[str, Fields]] = {  # besides the metadata, which is number 1 in all of them
    "ClusterRole": _ROLE,
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {2: ("data", "map"), 3: ("binaryData", "bytes"), 4: ("immutable", "flag")},
    "Deployment": {2: ("spec", _DEPLOYMENT)},
    "Eviction": {2: ("deleteOptions", _DELETE)},
    "Namespace": {},
    "PodDisruptionBudget": {2: ("spec", _BUDGET)},
    "Role": _ROLE,
    "RoleBinding": _BINDING,
    "Secret": {2: ("data", "bytes"), 3: ("type", "text"), 4: ("stringData", "map"), 5: ("immutable", "flag")},
    "SelfSubjectAccessReview": {2: ("spec", _REVIEW)},
    "SelfSubjectRulesReview": {2: ("spec", _texts("namespace"))},
    "Service": {2: ("spec", _SERVICE)},
    "ServiceAccount": {},
    "TokenRequest": {2: ("spec", _TOKEN)},
}
_ENVELOPE: Final[Fields] = {1: ("type", _texts("apiVersion", "kind")), 2: ("raw", "raw")}


def decode_protobuf(body: bytes) -> Object | None:
    """The object in a protobuf body; None for one that is not read here. Raises: ApiError 400."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body does not begin as a Kubernetes protobuf does")
    try:
        envelope = _decode(body[len(_MAGIC) :], _ENVELOPE)
        head, kind = envelope["type"], envelope["type"]["kind"]
        if kind == "DeleteOptions":
            return dict(head | _decode(envelope.get("raw", b""), _DELETE))
        if kind not in _KINDS:
            return None
        return dict(head | _decode(envelope["raw"], {1: ("metadata", _META)} | _KINDS[kind]))
    except _UnknownField:
        return None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise bad_request("the protobuf in the body is cut short or malformed") from None


def _decode(data: bytes, fields: Fields) -> Object:
    found: Object = {}
    for number, raw in _fields(data):
        name, kind = fields.get(number, ("", ""))
        if not name and not _is_empty(raw):
            raise _UnknownField
        if name:
            value = _value(kind, raw, found.get(name))
            found |= {} if value is None else {name: value}
    return found


def _value(kind: Any, raw: Any, before: Any) -> Any:
    """A field's value, with what it had before when it is repeated; None for what Go leaves out of JSON."""
    match kind:
        case list():
            return [*(before or ()), _value(kind[0], raw, None) or ""]
        case dict():
            return _decode(raw, kind)
        case "map" | "bytes":
            entry = dict(_fields(raw))
            text = base64.b64encode(entry.get(2, b"")) if kind == "bytes" else entry.get(2, b"")
            return (before or {}) | {entry.get(1, b"").decode(): text.decode()}
        case "int-or-string":
            parts = dict(_fields(raw))
            return parts.get(3, b"").decode() if parts.get(1) else parts.get(2, 0)
        case "text":
            return raw.decode() or None
        case "flag":
            return bool(raw)
        case "count":
            return raw or None
    return raw  # a number that Go has a pointer to: zero is said on purpose


def _is_empty(raw: Any) -> bool:
    """Whether a field says nothing: zero, no text, or a message of such fields; Go writes them all the same."""
    try:
        return not raw or (isinstance(raw, bytes) and all(_is_empty(value) for _, value in _fields(raw)))
    except (IndexError, ValueError):
        return False


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of every field: bytes of text and messages, and whole numbers."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == _MESSAGE:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field that ends after its message")
            yield tag >> 3, data[at : at + length]
            at += length
        elif tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        else:
            raise ValueError("a wire type that these kinds do not use")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
