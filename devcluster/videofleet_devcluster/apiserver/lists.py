"""Lists and watches by label and field selectors, parsed once and matched often; and long answers in pieces.

What cannot be parsed, and fields that Kubernetes does not select by, are 400.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import bad_request
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.objects import Object, labels_of

Selector = Callable[[Object], bool]

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
