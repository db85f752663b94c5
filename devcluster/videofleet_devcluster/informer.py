"""A local copy of one collection, kept fresh: list, watch, resume after a break, list again after 410.

Invariant: an object never goes back in time (older resourceVersions are ignored), and what this process
wrote is seen at once (`observe`), so a controller never acts twice on the same stale picture.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from videofleet_devcluster.client import ApiClient, ApiError, Resource
from videofleet_devcluster.objects import Key, Object, key_of

_log: Final = logging.getLogger(__name__)
_LONGEST_PAUSE_S: Final = 5.0


class Informer:
    """The collection by key. Listeners get every changed object, deleted ones too."""

    def __init__(self, client: ApiClient, resource: Resource, field_selector: str = "") -> None:
        self._client = client
        self._resource = resource
        self._selection = {"fieldSelector": field_selector} if field_selector else {}
        self._objects: dict[Key, Object] = {}
        self._listeners: list[Callable[[Object], None]] = []
        self.synced = asyncio.Event()

    def listen(self, listener: Callable[[Object], None]) -> None:
        """Calls back for each change from now on."""
        self._listeners.append(listener)

    def get(self, key: Key) -> Object | None:
        """The object, if it exists."""
        return self._objects.get(key)

    def all(self, namespace: str = "") -> list[Object]:
        """Every object, of one namespace if given."""
        return [obj for key, obj in self._objects.items() if namespace in ("", key[0])]

    def observe(self, obj: Object) -> None:
        """Takes in what a write of ours returned."""
        self._put(obj)

    def forget(self, obj: Object) -> None:
        """Takes in that the object is gone."""
        known = self._objects.get(key_of(obj))
        if known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self._objects[key_of(obj)]
            self._tell([obj])

    async def run(self) -> None:
        """Keeps the copy fresh until cancelled."""
        pause_s, version = 0.05, ""
        while True:
            try:
                if not version:
                    version = await self._list()
                async for event in self._client.watch(self._resource, "", resourceVersion=version, **self._selection):
                    version, pause_s = self._take(event), 0.05
            except ApiError as error:
                version = "" if error.code == 410 else version
                _log.debug("watch refused", extra={"resource": self._resource.plural, "error": str(error)})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.debug("watch broke", extra={"resource": self._resource.plural, "error": str(error)})
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _list(self) -> str:
        answer = await self._client.list(self._resource, **self._selection)
        fresh = {key_of(obj): obj for obj in answer["items"]}
        gone = [obj for key, obj in self._objects.items() if key not in fresh]
        for obj in gone:
            self.forget(obj)
        for obj in fresh.values():
            self._put(obj)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    def _take(self, event: Object) -> str:
        obj: Object = event["object"]
        if event["type"] == "DELETED":
            self.forget(obj)
        elif event["type"] != "BOOKMARK":
            self._put(obj)
        return str(obj["metadata"]["resourceVersion"])

    def _put(self, obj: Object) -> None:
        known = self._objects.get(key_of(obj))
        if known is not None and _version(known) >= _version(obj):
            return
        self._objects[key_of(obj)] = obj
        self._tell([obj])

    def _tell(self, objects: Iterable[Object]) -> None:
        for obj in objects:
            for listener in self._listeners:
                listener(obj)


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
