"""Reading Kubernetes objects: keys, owners, selectors, conditions, quantities and times.

Objects stay the plain JSON that the API server sent; everything here is pure. Nothing here knows a
controller.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

Object = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name); the namespace of cluster-scoped objects is empty."""

_SUFFIXES: Final = {
    **{"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)},
    **{"k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12)},
    **{"Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40)},
}
_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for names: no vowels, no look-alikes


def key_of(obj: Object) -> Key:
    """The namespace and name of an object."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def labels_of(obj: Object) -> dict[str, str]:
    """The object's labels, never None."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """The object's annotations, never None."""
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    """Whether deletion was asked for."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the controller, if there is one."""
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def controller_reference(owner: Object, api_version: str, kind: str) -> Object:
    """An owner reference that makes `owner` the controller."""
    meta = owner["metadata"]
    reference = {"apiVersion": api_version, "kind": kind, "name": meta["name"], "uid": meta["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions) picks these labels; an empty one picks all."""
    selector = selector or {}
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    present, value = expression["key"] in labels, labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return present and value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return present
        case _:
            return not present


def condition_of(obj: Object, kind: str) -> Object | None:
    """The status condition of that type."""
    conditions: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition exists and is True."""
    condition = condition_of(obj, kind)
    return condition is not None and condition["status"] == "True"


def transitioned(old: Object | None, new: Object, now: datetime) -> Object:
    """The new condition; its lastTransitionTime moves only when its status does."""
    if old is not None and old["status"] == new["status"]:
        return new | {"lastTransitionTime": old.get("lastTransitionTime") or timestamp(now)}
    return new | {"lastTransitionTime": timestamp(now)}


def quantity(text: str | int | float) -> Fraction:
    """A resource quantity (`250m`, `2Gi`, `1`) as an exact number."""
    text = str(text)
    suffix = next((s for s in ("Ki", "Mi", "Gi", "Ti") if text.endswith(s)), text[-1:])
    if suffix in _SUFFIXES:
        return Fraction(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    return Fraction(text)


def timestamp(now: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> datetime:
    """The moment that a timestamp names."""
    return datetime.fromisoformat(text)


def age_s(text: str, now: datetime) -> float:
    """Seconds since a timestamp."""
    return (now - time_of(text)).total_seconds()


def name_hash(value: Any, length: int = 10) -> str:
    """A short, stable, name-safe hash of JSON."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:length])


def without_zeros(status: Mapping[str, Any]) -> Object:
    """A status as Kubernetes serialises it: counts of zero are absent."""
    return {name: value for name, value in status.items() if value not in (0, None)}
