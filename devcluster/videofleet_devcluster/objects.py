"""Kubernetes objects: plain JSON as the API server sends it, and what everybody reads out of it. Pure.

Invariant: an object that reached a store or an informer is never changed in place. Whoever wants another one clones it
and changes the clone; so lists, watch events and caches share references without copying, and equal parts are held
once (`shared`).
"""

import hashlib
import json
import marshal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

Object = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name); the namespace of cluster-scoped objects is empty."""

ENDED: Final = ("Succeeded", "Failed")
NAME_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet: no vowels, no look-alikes
_SUFFIXES: Final = {
    **{"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)},
    **{"k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12)},
    **{"Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40)},
}
_GENERATION: Final = 16384  # parts of objects remembered, twice this at most


def key_of(obj: Object) -> Key:
    """The namespace and name of an object."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def uid_of(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def labels_of(obj: Object) -> dict[str, str]:
    """The object's labels, never None."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """The object's annotations, never None."""
    return obj["metadata"].get("annotations") or {}


def status_of(obj: Object) -> Object:
    """The object's status, never None."""
    return obj.get("status") or {}


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase_of(obj: Object) -> str:
    """status.phase; a pod without a status is Pending."""
    return str(status_of(obj).get("phase", "Pending"))


def is_active(pod: Object) -> bool:
    """Whether the pod still counts: it has not ended and nobody asked it to."""
    return not is_deleting(pod) and phase_of(pod) not in ENDED


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the controller, if there is one."""
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def controller_reference(owner: Object, api_version: str, kind: str) -> Object:
    """An owner reference that makes `owner` the controller."""
    reference = {"apiVersion": api_version, "kind": kind, "name": owner["metadata"]["name"], "uid": uid_of(owner)}
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
    conditions: list[Object] = status_of(obj).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    return (condition_of(obj, kind) or {}).get("status") == "True"


def transitioned(old: Object | None, new: Object, now: datetime) -> Object:
    """The new condition; its lastTransitionTime moves only when its status does."""
    if old is not None and old["status"] == new["status"]:
        return new | {"lastTransitionTime": old.get("lastTransitionTime") or timestamp(now)}
    return new | {"lastTransitionTime": timestamp(now)}


def with_condition(obj: Object, new: Object, now: datetime) -> list[Object]:
    """The object's conditions with this one in the place of the old one."""
    old = condition_of(obj, new["type"])
    others = [condition for condition in status_of(obj).get("conditions") or [] if condition is not old]
    return [*others, transitioned(old, new, now)]


def changed_status(current: Object | None, new: Object) -> Object | None:
    """The merge patch that makes the current status the new one; None when they agree."""
    current = without_zeros(current or {})
    return None if current == new else dict.fromkeys(current.keys() - new.keys()) | new


def without_zeros(status: Mapping[str, Any]) -> Object:
    """A status as Kubernetes serialises it: counts of zero are absent."""
    return {name: value for name, value in status.items() if value not in (0, None)}


def quantity(text: str | int | float) -> Fraction:
    """A resource quantity (`250m`, `2Gi`, `1`) as an exact number."""
    text = str(text)
    suffix = next((s for s in ("Ki", "Mi", "Gi", "Ti") if text.endswith(s)), text[-1:])
    if suffix in _SUFFIXES:
        return Fraction(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    return Fraction(text)


def timestamp(at: datetime | None = None) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time; now unless told."""
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp() -> str:
    """Now, as metav1.MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def age_s(text: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(text)).total_seconds()


def name_hash(value: Any, length: int = 10) -> str:
    """A short, stable, name-safe hash of JSON."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(NAME_LETTERS[byte % len(NAME_LETTERS)] for byte in digest[:length])


def clone(value: Any) -> Any:
    """A copy of JSON data with dicts and lists of its own; texts and numbers stay the same objects."""
    if isinstance(value, dict):
        return {name: clone(part) if isinstance(part, dict | list) else part for name, part in value.items()}
    return [clone(part) for part in value] if isinstance(value, list) else value


class _Known:
    """The dicts and lists that were seen lately, by digest, in two generations of which the older one is dropped."""

    def __init__(self) -> None:
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}

    def of(self, value: Any) -> Any:
        text = marshal.dumps(value, 0)  # version 0 writes the value alone, not how its parts are shared
        digest = hashlib.blake2b(text, digest_size=16).digest()
        known = self._young.get(digest)
        if known is None:
            known = self._old.get(digest)
            known = _of_shared_parts(value) if known is None else known
            if len(self._young) >= _GENERATION:
                self._old, self._young = self._young, {}
            self._young[digest] = known
        return known


_known: Final = _Known()


def shared(value: Any) -> Any:
    """The value, or one that is equal to it and already held: sys.intern for JSON.

    Most of an object is equal in its other versions, in its sisters and in every cache.
    """
    if isinstance(value, str):
        return sys.intern(value)
    return _known.of(value) if isinstance(value, dict | list) else value


def _of_shared_parts(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(name): shared(part) for name, part in value.items()}
    return [shared(part) for part in value]


def share_parts(obj: Object) -> None:
    """Replaces the parts of an object, and of its metadata, by shared ones; those two dicts stay its own."""
    for own in (obj, obj["metadata"]):
        parts = [(sys.intern(name), value if name == "metadata" else shared(value)) for name, value in own.items()]
        own.clear()
        own.update(parts)
