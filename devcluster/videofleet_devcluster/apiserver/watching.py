"""Watches: from a version or from the current state, by selector, with bookmarks and streaming lists.

A watcher sees every change once and in order. One that asks for a version that is no longer in the log gets 410.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from videofleet_devcluster.apiserver.errors import ApiError, Cause, expired, invalid, too_large_version
from videofleet_devcluster.apiserver.faults import Dropped, FaultAction, Faults
from videofleet_devcluster.apiserver.lists import Selector, pieces
from videofleet_devcluster.apiserver.requests import is_true, number
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.store import Event, Store, watch_line
from videofleet_devcluster.objects import Object

_BOOKMARK_EVERY_S: Final = 10.0
_LONGEST_S: Final = 3600.0
Render = Callable[[str, Object], bytes]


@dataclass(frozen=True)
class WatchOptions:
    since: int | None  # None: begin with the current state
    bookmarks: bool
    initial_events: bool
    timeout_s: float

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "WatchOptions":
        """Reads the parameters. Raises: ApiError 400, 422."""
        initial = is_true(query, "sendInitialEvents")
        version = number(query, "resourceVersion")
        if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
            text = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid("ListOptions", "meta.k8s.io", "", Cause("FieldValueForbidden", text, "resourceVersionMatch"))
        return cls(
            since=None if initial else version or None,
            bookmarks=is_true(query, "allowWatchBookmarks"),
            initial_events=initial,
            timeout_s=float(number(query, "timeoutSeconds") or _LONGEST_S),
        )


class Watch:
    """One client watching one resource, perhaps in one namespace and by a selector."""

    def __init__(
        self, store: Store, faults: Faults, resource: Resource, namespace: str, selector: Selector | None,
        options: WatchOptions, render: Render | None = None,
    ) -> None:  # fmt: skip
        self._store, self._faults, self._resource, self._namespace = store, faults, resource, namespace
        self._selector, self._options, self._render = selector, options, render
        self._log = store.log(resource.id)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The lines of the response, some at a time. Raises: Dropped."""
        with self._log.subscribed() as waker:
            try:
                async for chunk in self._follow(waker):
                    yield chunk
            except ApiError as error:
                yield watch_line("ERROR", error.status())

    async def _follow(self, waker: asyncio.Event) -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + self._options.timeout_s
        seen = self._store.version
        if self._options.since is None:
            for piece in pieces(self._initial_state(seen)):
                yield piece
        else:
            seen = self._options.since
            self._check_reachable(seen)
        while True:
            events = self._log.since(seen)
            seen = events[-1].version if events else seen
            async for piece in self._told(events):
                yield piece
            rest_s = ends_at - time.monotonic()
            if not await _woken(waker, min(rest_s, _BOOKMARK_EVERY_S)):
                if self._options.bookmarks:
                    yield self._bookmark(self._store.version)
                if rest_s <= _BOOKMARK_EVERY_S:
                    return

    async def _told(self, events: list[Event]) -> AsyncIterator[bytes]:
        if not self._faults.are_set:
            for piece in pieces(map(self._line, events)):
                yield piece
            return
        for event in events:
            if line := self._line(event):
                await self._suffer(event)
                yield line

    async def _suffer(self, event: Event) -> None:
        """What a fault does instead of an event, or before it. Raises: ApiError 410, Dropped."""
        rule = self._faults.on_event(self._resource.plural, event.object)
        if rule is None:
            return
        if rule.action is FaultAction.DELAY:
            await asyncio.sleep(rule.delay_s)
        elif rule.action is FaultAction.BREAK_WATCH:
            raise Dropped
        else:
            self._store.compact()
            raise expired(event.version, self._store.version)

    def _check_reachable(self, version: int) -> None:
        if version < self._log.oldest:
            raise expired(version, self._log.oldest)
        if version > self._store.version:
            raise too_large_version(version, self._store.version)

    def _initial_state(self, version: int) -> Iterator[bytes]:
        for obj in self._store.listed(self._resource.id, self._namespace):
            if self._selector is None or self._selector(obj):
                yield self._encode("ADDED", obj)
        if self._options.initial_events and self._options.bookmarks:
            yield self._bookmark(version, annotations={"k8s.io/initial-events-end": "true"})

    def _line(self, event: Event) -> bytes:
        """The event as this watcher sees it: what enters or leaves the selector is added or deleted."""
        obj, before = event.object, event.before
        if self._namespace and obj["metadata"].get("namespace") != self._namespace:
            return b""
        is_in = self._selector is None or (event.type != "DELETED" and self._selector(obj))
        was_in = self._selector is None or (before is not None and self._selector(before))
        if is_in and was_in:
            is_plain = self._render is None and obj["apiVersion"] == self._resource.group_version
            return event.line if is_plain else self._encode(event.type, obj)
        if is_in:
            return self._encode("ADDED", obj)
        if not was_in or before is None:
            return b""
        version = {"resourceVersion": obj["metadata"]["resourceVersion"]}  # the last state seen, as of the change
        return self._encode("DELETED", before | {"metadata": before["metadata"] | version})

    def _encode(self, event_type: str, obj: Object) -> bytes:
        if self._render is not None:
            return self._render(event_type, obj)
        return watch_line(event_type, obj | {"apiVersion": self._resource.group_version})

    def _bookmark(self, version: int, **metadata: Object) -> bytes:
        told: Object = {"resourceVersion": str(version), "creationTimestamp": None} | metadata
        head = {"kind": self._resource.kind, "apiVersion": self._resource.group_version}
        return watch_line("BOOKMARK", head | {"metadata": told})


async def _woken(waker: asyncio.Event, timeout_s: float) -> bool:
    """Waits for the next event; False when the time is up."""
    try:
        await asyncio.wait_for(waker.wait(), max(timeout_s, 0))
    except TimeoutError:
        return False
    waker.clear()
    return True
