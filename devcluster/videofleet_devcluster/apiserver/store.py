"""The objects, one resourceVersion sequence over all of them, and a log of what happened for watchers.

It knows nothing of HTTP, schemas or policy. Invariants: versions only grow; an event's object is the object at that
version; the log of a resource is gapless back to `oldest`, and whoever asks for more is told Expired.
"""

import asyncio
import json
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from videofleet_devcluster.apiserver.errors import expired
from videofleet_devcluster.objects import Key, Object, key_of, share_parts

ResourceId = tuple[str, str]
_FIRST_VERSION: Final = 1000  # so that small versions are too old, as in any cluster that has lived for a while
_LINES_KEPT: Final = 256  # events whose line stays encoded; who is further behind encodes again
_LOG_LENGTH: Final = 4096  # events kept per resource; a slower watcher has to list again


@dataclass
class Event:
    """One change. `before` tells a watcher with a selector whether the object has just left its view."""

    version: int
    type: str  # ADDED | MODIFIED | DELETED
    object: Object
    before: Object | None

    @cached_property
    def line(self) -> bytes:
        """The event as a line of a watch, encoded once for all watchers."""
        return watch_line(self.type, self.object)


def watch_line(event_type: str, obj: Object) -> bytes:
    return json.dumps({"type": event_type, "object": obj}, separators=(",", ":")).encode() + b"\n"


class Log:
    """The last events of one resource, and who waits for the next."""

    def __init__(self) -> None:
        self.oldest = _FIRST_VERSION  # whoever has seen everything up to this version may begin to watch
        self._lost = _FIRST_VERSION  # the last version that is no longer here: whoever watches has to have seen it
        self._events: list[Event] = []
        self._wakers: set[asyncio.Event] = set()

    def append(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > _LINES_KEPT:
            self._events[-_LINES_KEPT].__dict__.pop("line", None)  # of the cached_property
        if len(self._events) > 2 * _LOG_LENGTH:
            self._lost = self._events[_LOG_LENGTH - 1].version
            self.oldest = max(self.oldest, self._lost)
            del self._events[:_LOG_LENGTH]
        for waker in self._wakers:
            waker.set()

    def since(self, version: int) -> list[Event]:
        """The events after a version. Raises: ApiError 410 when the reader was too slow."""
        if version < self._lost:
            raise expired(version, self.oldest)
        return self._events[bisect_right(self._events, version, key=lambda event: event.version) :]

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was appended; the reader clears it."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.discard(waker)


class Store:
    """All objects of the cluster, by resource, namespace and name, by UID, and by their owners."""

    def __init__(self) -> None:
        self.version = _FIRST_VERSION
        self._objects: dict[ResourceId, dict[Key, Object]] = {}
        self._logs: dict[ResourceId, Log] = {}
        self._by_uid: dict[str, tuple[ResourceId, Key]] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, resource: ResourceId, key: Key) -> Object | None:
        return self._objects.get(resource, {}).get(key)

    def listed(self, resource: ResourceId, namespace: str = "") -> list[Object]:
        """Objects of a resource, of one namespace or of all, sorted by namespace and name."""
        found = self._objects.get(resource, {})
        return [found[key] for key in sorted(key for key in found if not namespace or key[0] == namespace)]

    def log(self, resource: ResourceId) -> Log:
        return self._logs.setdefault(resource, Log())

    def put(self, resource: ResourceId, obj: Object) -> None:
        """Stores an object under the next resourceVersion, which is written into it."""
        key, objects = key_of(obj), self._objects.setdefault(resource, {})
        before = objects.get(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if before is not None:
            self._unindex(before)
        share_parts(obj)
        objects[key] = obj
        self._by_uid[obj["metadata"]["uid"]] = resource, key
        for owner in obj["metadata"].get("ownerReferences", ()):
            self._dependents.setdefault(owner["uid"], set()).add(obj["metadata"]["uid"])
        event_type = "ADDED" if before is None else "MODIFIED"
        self.log(resource).append(Event(self.version, event_type, obj, before))

    def remove(self, resource: ResourceId, key: Key) -> Object:
        """Removes an object; returns its last state, with the version of the removal."""
        before = self._objects[resource].pop(key)
        self._unindex(before)
        self.version += 1
        last = before | {"metadata": before["metadata"] | {"resourceVersion": str(self.version)}}
        self.log(resource).append(Event(self.version, "DELETED", last, before))
        return last

    def find(self, uid: str) -> tuple[ResourceId, Object] | None:
        """The object with that UID, and of which resource it is."""
        if uid not in self._by_uid:
            return None
        resource, key = self._by_uid[uid]
        return resource, self._objects[resource][key]

    def dependents(self, uid: str) -> list[tuple[ResourceId, Object]]:
        """The objects that name this UID as an owner."""
        return list(filter(None, map(self.find, sorted(self._dependents.get(uid, ())))))

    def everything(self, namespace: str = "", of: ResourceId | None = None) -> Iterator[tuple[ResourceId, Object]]:
        """What is in a namespace, or of a resource, in no order; not to be changed meanwhile."""
        for resource in self._objects if of is None else (of,):
            for key, obj in self._objects.get(resource, {}).items():
                if not namespace or key[0] == namespace:
                    yield resource, obj

    def compact(self) -> None:
        """Forgets the watch history, as etcd's compaction does: open watches go on, earlier versions are Expired."""
        for resource in self._objects:
            self.log(resource).oldest = self.version

    def _unindex(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        self._by_uid.pop(uid, None)
        for owner in obj["metadata"].get("ownerReferences", ()):
            children = self._dependents.get(owner["uid"], set())
            children.discard(uid)
            if not children:
                self._dependents.pop(owner["uid"], None)
