"""The bodies that kubectl 1.32 sends as protobuf only: `create namespace`, `auth can-i` and those of `drain`.

Field numbers are those of Kubernetes' generated.proto. Every other kind is refused with 415; answers are always JSON.
"""

from collections.abc import Iterator
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import bad_request
from videofleet_devcluster.objects import Object

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_MESSAGE: Final = 2  # wire type of strings and messages

Fields = dict[int, tuple[str, Any]]  # number → name and: None for text, "number", "map", or the fields of a message
_META: Final[Fields] = {1: ("name", None), 2: ("generateName", None), 11: ("labels", "map"), 12: ("annotations", "map")}
_RESOURCE: Final[Fields] = {
    number: (name, None)
    for number, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), start=1)
}
_REVIEW: Final[Fields] = {
    1: ("resourceAttributes", _RESOURCE),
    2: ("nonResourceAttributes", {1: ("path", None), 2: ("verb", None)}),
}
_DELETE: Final[Fields] = {
    1: ("gracePeriodSeconds", "number"),
    2: ("preconditions", {1: ("uid", None), 2: ("resourceVersion", None)}),
    4: ("propagationPolicy", None),
    5: ("dryRun", None),
}
_KINDS: Final[dict[str, Fields]] = {
    "DeleteOptions": _DELETE,
    "Eviction": {1: ("metadata", _META), 2: ("deleteOptions", _DELETE)},
    "Namespace": {1: ("metadata", _META)},
    "SelfSubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _REVIEW)},
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", None)})},
}
_ENVELOPE: Final[Fields] = {1: ("type", {1: ("apiVersion", None), 2: ("kind", None)})}


def decode_protobuf(body: bytes) -> Object | None:
    """The object in a protobuf body; None for a kind that is not read here. Raises: ApiError 400."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body does not begin as a Kubernetes protobuf does")
    try:
        envelope = body[len(_MAGIC) :]
        head: Object = _decode(envelope, _ENVELOPE)["type"]
        fields = _KINDS.get(head["kind"])
        raw = next(value for number, value in _fields(envelope) if number == 2)
        return head | _decode(raw, fields) if fields else None
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        raise bad_request("the protobuf in the body is cut short or malformed") from None


def _decode(data: bytes, fields: Fields) -> Object:
    found: Object = {}
    for number, value in _fields(data):
        name, kind = fields.get(number, ("", None))
        if name and kind == "map":
            entry = _decode(value, {1: ("key", None), 2: ("value", None)})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif name and kind == "number":
            found[name] = value
        elif name and kind is None:
            found |= {name: value.decode()} if value else {}
        elif name:
            found[name] = _decode(value, kind)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of every field: bytes of text and messages, and whole numbers."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == _MESSAGE:
            length, at = _varint(data, at)
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
