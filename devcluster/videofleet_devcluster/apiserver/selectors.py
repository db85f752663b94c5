"""Label and field selectors of lists and watches, parsed once and matched often.

What cannot be parsed, and fields that Kubernetes does not select by, are 400.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import bad_request
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.resources import Resource

Selector = Callable[[Object], bool]

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
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)


def _terms(text: str) -> list[str]:
    """Splits at the commas outside of parentheses."""
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label_test(term: str) -> Selector:
    if match := _SET.match(term):
        name, operator, values = match[1], match[2], {value.strip() for value in match[3].split(",")}
        if operator == "in":
            return lambda obj: _labels(obj).get(name) in values
        return lambda obj: _labels(obj).get(name) not in values
    if match := _EQUALITY.match(term):
        name, operator, value = match[1], match[2], match[3].strip()
        if operator == "!=":
            return lambda obj: _labels(obj).get(name) != value
        return lambda obj: _labels(obj).get(name) == value
    if match := _NAME.match(term):
        absent, name = bool(match[1]), match[2]
        return lambda obj: (name in _labels(obj)) != absent
    raise bad_request(f"unable to parse requirement: {term!r} is no label selector; write key=value or key in (a,b)")


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _field_test(resource: Resource, term: str) -> Selector:
    match = _EQUALITY.match(term)
    if match is None:
        raise bad_request(f"invalid field selector: {term!r}; can't understand it, write field=value")
    path, operator, value = match[1], match[2], match[3]
    known = () if resource.is_custom else _FIELDS.get(resource.plural, ())
    if path not in ("metadata.name", "metadata.namespace", *known):
        raise bad_request(f"field label not supported: {path}")
    steps = path.split(".")
    if operator == "!=":
        return lambda obj: _text_at(obj, steps) != value
    return lambda obj: _text_at(obj, steps) == value


def _text_at(obj: Any, steps: list[str]) -> str:
    for step in steps:
        obj = obj.get(step) if isinstance(obj, dict) else None
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return "" if obj is None else str(obj)
