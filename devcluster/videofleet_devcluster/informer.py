"""A local copy of one collection, kept fresh: list, watch, resume after a break, list again after 410.

Invariant: an object never goes back in time (older resourceVersions are ignored), and what this process wrote is seen
at once (`observe`), so a controller never acts twice on the same stale picture. managedFields are dropped: nobody here
reads them, and they are half of a small object.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from videofleet_devcluster.client import ApiClient, ApiError, Resource
from videofleet_devcluster.objects import Key, Object, controller_of, key_of, share_parts, uid_of

_log: Final = logging.getLogger(__name__)
_LONGEST_PAUSE_S: Final = 5.0

Listener = Callable[[Object, Object | None], None]
"""(the object, or its last state when it was deleted; what was known before)."""


class Informer:
    """The collection by key, by namespace and by controller. Listeners get every changed object, deleted ones too."""

    def __init__(self, client: ApiClient, resource: Resource, field_selector: str = "") -> None:
        self._client, self._resource = client, resource
        self._selection = {"fieldSelector": field_selector} if field_selector else {}
        self._objects: dict[Key, Object] = {}
        self._groups: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self._listeners: list[Listener] = []
        self.synced = asyncio.Event()

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def holds(self, obj: Object) -> bool:
        """Whether this very object, by uid, still exists."""
        known = self._objects.get(key_of(obj))
        return known is not None and uid_of(known) == uid_of(obj)

    def all(self, namespace: str = "") -> list[Object]:
        """Every object, of one namespace if given."""
        return self._group(f"in/{namespace}") if namespace else list(self._objects.values())

    def controlled_by(self, owner: Object) -> list[Object]:
        return self._group(f"of/{uid_of(owner)}")

    def orphans(self, namespace: str) -> list[Object]:
        """The objects of a namespace that nobody controls."""
        return self._group(f"of/nobody in {namespace}")

    def _group(self, name: str) -> list[Object]:
        return [self._objects[key] for key in self._groups.get(name, ())]

    async def patch(self, obj: Object, patch: Object, subresource: str = "") -> Object:
        """Merges a patch into an object on the server; takes in and returns what it became. Raises as ApiClient."""
        patched = await self._client.patch(self._resource, *key_of(obj), patch, subresource)
        self.observe(patched)
        return patched

    def observe(self, obj: Object) -> None:
        """Takes in what a write of ours returned."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is not None and _version(known) >= _version(obj):
            return
        obj["metadata"].pop("managedFields", None)
        share_parts(obj)
        self._drop(key, known)
        self._objects[key] = obj
        for group in _groups_of(obj):
            self._groups[group][key] = None
        self._tell(obj, known)

    def forget(self, obj: Object) -> None:
        key = key_of(obj)
        if self.holds(obj):
            known = self._objects[key]
            self._drop(key, known)
            del self._objects[key]
            self._tell(obj, known)

    def _drop(self, key: Key, known: Object | None) -> None:
        for group in _groups_of(known) if known is not None else ():
            self._groups[group].pop(key)
            if not self._groups[group]:
                del self._groups[group]

    def _tell(self, obj: Object, before: Object | None) -> None:
        for listener in self._listeners:
            listener(obj, before)

    async def run(self) -> None:
        pause_s, version = 0.05, ""
        while True:
            try:
                version = version or await self._list()
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
        for obj in [obj for key, obj in self._objects.items() if key not in fresh]:
            self.forget(obj)
        for obj in fresh.values():
            self.observe(obj)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    def _take(self, event: Object) -> str:
        obj: Object = event["object"]
        if event["type"] == "DELETED":
            self.forget(obj)
        elif event["type"] != "BOOKMARK":
            self.observe(obj)
        return str(obj["metadata"]["resourceVersion"])


async def run_synced(tasks: asyncio.TaskGroup, informers: Iterable[Informer]) -> None:
    """Starts the informers and returns when all know everything: a plan from half a picture does harm."""
    informers = list(informers)
    for informer in informers:
        tasks.create_task(informer.run())
    for informer in informers:
        await informer.synced.wait()


def _groups_of(obj: Object) -> tuple[str, ...]:
    namespace, owner = key_of(obj)[0], controller_of(obj)
    return f"in/{namespace}", f"of/{owner['uid']}" if owner else f"of/nobody in {namespace}"


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
