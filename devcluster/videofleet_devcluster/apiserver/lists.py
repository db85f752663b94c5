"""Lists and watches by label and field selectors, parsed once and matched often; and lists in pieces.

What cannot be parsed, and fields that Kubernetes does not select by, are 400. `limit` cuts a piece off a list and
`continue` asks for the rest of it: every piece is of the version of the first one, or refused with 410.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import ApiError, bad_request
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.store import ResourceId, Store
from videofleet_devcluster.objects import Object, labels_of

Selector = Callable[[Object], bool]

_KEPT_LISTS: Final = 256
_PIECE_BYTES: Final = 1 << 16
_SET: Final = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_EQUALITY: Final = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*([^=]*)$")
_NAME: Final = re.compile(r"^(!?)\s*([A-Za-z0-9][-A-Za-z0-9_./]*)$")
_FIELDS: Final = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
             "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    "events": ("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
               "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
               "reason", "reportingComponent", "source", "type"),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets": ("status.replicas",),
}  # fmt: skip  # one line a resource reads better


def selector(resource: Resource, labels: str, fields: str) -> Selector | None:
    """What an object has to satisfy; None when everything does. Raises: ApiError 400."""
    tests = [_label_test(term) for term in _terms(labels)]
    tests += [_field_test(resource, term) for term in _terms(fields)]
    return (lambda obj: all(test(obj) for test in tests)) if tests else None


def _terms(text: str) -> list[str]:
    """Splits at the commas outside of parentheses."""
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label_test(term: str) -> Selector:
    if match := _SET.match(term):
        name, is_in, values = match[1], match[2] == "in", {value.strip() for value in match[3].split(",")}
        return lambda obj: (labels_of(obj).get(name) in values) == is_in
    if match := _EQUALITY.match(term):
        name, is_equal, value = match[1], match[2] != "!=", match[3].strip()
        return lambda obj: (labels_of(obj).get(name) == value) == is_equal
    if match := _NAME.match(term):
        absent, name = bool(match[1]), match[2]
        return lambda obj: (name in labels_of(obj)) != absent
    raise bad_request(f"unable to parse requirement: {term!r} is no label selector; write key=value or key in (a,b)")


def _field_test(resource: Resource, term: str) -> Selector:
    match = _EQUALITY.match(term)
    if match is None:
        raise bad_request(f"invalid field selector: {term!r}; can't understand it, write field=value")
    path, is_equal, value, steps = match[1], match[2] != "!=", match[3], match[1].split(".")
    known = () if resource.is_custom else _FIELDS.get(resource.plural, ())
    if path not in ("metadata.name", "metadata.namespace", *known):
        raise bad_request(f"field label not supported: {path}")
    return lambda obj: (_text_at(obj, steps) == value) == is_equal


def _text_at(obj: Any, steps: list[str]) -> str:
    for step in steps:
        obj = obj.get(step) if isinstance(obj, dict) else None
    return str(obj).lower() if isinstance(obj, bool) else "" if obj is None else str(obj)


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Joins lines, so that an answer of any length is sent in few pieces and never held as a whole."""
    held, size = list[bytes](), 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size > _PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if rest := b"".join(held):
        yield rest


class Pages:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rests: dict[str, tuple[ResourceId, int, list[Object]]] = {}

    def first(
        self, resource: ResourceId, found: list[Object], limit: int, *, counted: bool
    ) -> tuple[Object, list[Object]]:
        """ListMeta and the first `limit` of the objects; all of them when it is 0."""
        return self._cut(resource, self._store.version, found, limit, counted)

    def following(self, token: str, limit: int, *, counted: bool) -> tuple[Object, list[Object]]:
        """The piece that a token stands for. Raises: ApiError 410 when its version was compacted or is long ago."""
        resource, version, rest = self._rests.get(token, (("", ""), -1, []))
        if version < self._store.log(resource).oldest:
            message = "The provided continue parameter is too old to display a consistent list result. "
            raise ApiError(410, "Expired", message + "You can start a new list without the continue parameter.")
        return self._cut(resource, version, rest, limit, counted)

    def _cut(
        self, resource: ResourceId, version: int, found: list[Object], limit: int, counted: bool
    ) -> tuple[Object, list[Object]]:
        metadata: Object = {"resourceVersion": str(version)}
        if not limit or len(found) <= limit:
            return metadata, found
        token = secrets.token_urlsafe(24)
        self._rests[token] = resource, version, found[limit:]
        if len(self._rests) > _KEPT_LISTS:
            del self._rests[next(iter(self._rests))]
        metadata |= {"continue": token} | ({"remainingItemCount": len(found) - limit} if counted else {})
        return metadata, found[:limit]
