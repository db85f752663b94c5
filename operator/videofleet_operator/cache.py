"""Copies of every object the operator plans by, kept by its watches: planning costs the API server nothing.

Invariant: an object never goes back in time and a deleted one never comes back, in whatever order lists, events and
answers to our own writes come. What we wrote is seen at once, or `is_behind` says that it is not yet.
"""

from collections.abc import Callable
from typing import Any, Final

from videofleet_operator.manifests.names import FLEET_LABEL
from videofleet_operator.workqueue import Key

Object = dict[str, Any]

_GRAVES: Final = 4096  # deletions remembered until the next list: answers and lists are late by seconds
CHILD_KINDS: Final = (
    "ControllerRevision",
    "Deployment",
    "ConfigMap",
    "Service",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Pod",
)


def fleet_by_label(child: Object) -> Key:
    """The fleet of a child."""
    meta = child["metadata"]
    return meta["namespace"], meta.get("labels", {}).get(FLEET_LABEL, "")


def fleet_by_name(generator: Object) -> Key:
    """The fleet that a VideoGenerator is."""
    return generator["metadata"]["namespace"], generator["metadata"]["name"]


class ObjectCache:
    """All objects of one kind in the served namespaces, by fleet."""

    def __init__(self, fleet_of: Callable[[Object], Key]) -> None:
        self._fleet_of = fleet_of
        self._objects: dict[str, Object] = {}  # by UID, as all below
        self._fleets: dict[Key, dict[str, str]] = {}  # name → UID
        self._gone: dict[str, int] = {}  # version of the deletion
        self._expected: dict[str, tuple[Key, int]] = {}  # version of our write
        self._listed: set[str] = set()  # namespaces

    def of(self, fleet: Key) -> list[Object]:
        """The fleet's objects, by name."""
        return [self._objects[uid] for _, uid in sorted(self._fleets.get(fleet, {}).items())]

    def all(self) -> list[Object]:
        """The objects of all fleets."""
        return list(self._objects.values())

    def uids(self) -> list[tuple[Key, str]]:
        """Every object with its fleet."""
        return [(fleet, uid) for fleet, names in self._fleets.items() for uid in names.values()]

    def is_listed(self, namespace: str) -> bool:
        """Whether a complete list of the namespace was ever read."""
        return namespace in self._listed

    def is_behind(self, fleet: Key) -> bool:
        """Whether a write of ours to an object of the fleet has not come back yet."""
        return any(waiting == fleet for waiting, _ in self._expected.values())

    def put(self, found: Object) -> bool:
        """An event, or the answer to a write of ours. Returns: whether it is news."""
        uid, name, version = found["metadata"]["uid"], found["metadata"]["name"], version_of(found)
        namesake = self._objects.get(self._fleets.get(self._fleet_of(found), {}).get(name, ""))
        before = [known for known in (self._objects.get(uid), namesake) if known is not None]
        if self._gone.get(uid, 0) >= version or any(version_of(known) >= version for known in before):
            return False
        expected = self._expected.get(uid)
        for known in before:
            self._drop(known)
        self._objects[uid] = _trimmed(found)
        self._fleets.setdefault(self._fleet_of(found), {})[name] = uid
        if expected is not None and expected[1] > version:
            self._expected[uid] = expected
        return True

    def remove(self, found: Object) -> None:
        """It is deleted, or has lost our labels; its resourceVersion is that of the moment."""
        uid = found["metadata"]["uid"]
        self._gone[uid] = version_of(found)
        if len(self._gone) > _GRAVES:
            del self._gone[next(iter(self._gone))]
        if uid in self._objects:
            self._drop(self._objects[uid])

    def forget(self, uid: str) -> None:
        """The API server says that it is gone."""
        if uid in self._objects:
            self.remove(self._objects[uid])

    def replace(self, namespace: str, items: list[Object], version: str) -> list[Object]:
        """A complete list of a namespace. Returns: what was known and is gone."""
        listed_at, fresh = int(version), {found["metadata"]["uid"] for found in items}
        lost = [
            known
            for uid, known in self._objects.items()
            if known["metadata"]["namespace"] == namespace and uid not in fresh and version_of(known) <= listed_at
        ]
        for known in lost:
            self._drop(known)
        for found in items:
            self.put(found)
        self._expected = {
            uid: (fleet, at) for uid, (fleet, at) in self._expected.items() if fleet[0] != namespace or at > listed_at
        }
        self._gone = {uid: at for uid, at in self._gone.items() if at > listed_at}
        self._listed.add(namespace)
        return lost

    def expect(self, fleet: Key, uid: str, version: int) -> None:
        """We wrote it and did not get it back: what is here is too old until that version has arrived."""
        known = self._objects.get(uid)
        if known is not None and version_of(known) < version:
            self._expected[uid] = (fleet, version)

    def _drop(self, known: Object) -> None:
        uid, fleet = known["metadata"]["uid"], self._fleet_of(known)
        self._expected.pop(uid, None)
        if self._objects.pop(uid, None) is None:
            return
        del self._fleets[fleet][known["metadata"]["name"]]
        if not self._fleets[fleet]:
            del self._fleets[fleet]


class Caches:
    """The cache of every kind."""

    def __init__(self) -> None:
        self._caches = {kind: ObjectCache(fleet_by_label) for kind in CHILD_KINDS}
        self._caches["VideoGenerator"] = ObjectCache(fleet_by_name)

    def __getitem__(self, kind: str) -> ObjectCache:
        return self._caches[kind]

    def is_current(self, fleet: Key) -> bool:
        """Whether every list of its namespace was read and all our writes to the fleet have come back."""
        return all(cache.is_listed(fleet[0]) and not cache.is_behind(fleet) for cache in self._caches.values())

    def wrote(self, kind: str, fleet: Key, answer: Object) -> None:
        """Takes in the answer to a write of ours; a Scale tells of a version of its Deployment and no more."""
        if answer.get("kind") == kind:
            self[kind].put(answer)
        else:
            self[kind].expect(fleet, answer["metadata"]["uid"], version_of(answer))


def version_of(found: Object) -> int:
    """The resourceVersion; Kubernetes promises that those of one kind compare as numbers."""
    return int(found["metadata"]["resourceVersion"])


def _trimmed(found: Object) -> Object:
    """Without what nobody plans by: it would be most of the memory."""
    meta = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return ({"kind": "ConfigMap"} if found["kind"] == "ConfigMap" else found) | {"metadata": meta}
