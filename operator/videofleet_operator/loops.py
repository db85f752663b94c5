"""The loops that put keys on the queue: watches of children, the resync, the look into Redis. None decides anything.

Each survives whatever the API server or Redis do, with jittered back-off, for ever.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from videofleet.jobs import Outcomes, QueueStats
from videofleet.queue import JobQueue, QueueError
from videofleet_operator.cache import Caches, ObjectCache, fleet_by_label
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.fleet_metrics import FLEET_GAUGES
from videofleet_operator.freshness import Freshness
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import Gone, KubeError, Throttled
from videofleet_operator.leadership import Leadership
from videofleet_operator.manifests.names import SELECT_WORKERS
from videofleet_operator.metrics import FLEET_OUTCOMES, REDIS_UP
from videofleet_operator.plan.status import QUEUE_WRITE_EVERY_S, rounded
from videofleet_operator.workqueue import Key, WorkQueue

RESYNC_S: Final = 60.0
POLL_S: Final = 2.0
_RETRY_MAX_S: Final = 10.0
_log = logging.getLogger(__name__)


async def forever(name: str, step: Callable[[], Awaitable[float]]) -> None:
    """Repeats a step; it returns the seconds to wait. A failing step is tried again with growing, jittered waits."""
    failures = 0
    while True:
        try:
            wait_s = await step()
            failures = 0
        except KubeError as error:
            failures += 1
            wait_s = min(_RETRY_MAX_S, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
            if isinstance(error, Throttled):
                wait_s = max(wait_s, error.retry_after_s)
            _log.warning("%s: %s", name, error, extra={"failures": failures})
        await asyncio.sleep(wait_s)


class ChildWatch:
    """Children of one kind in one namespace, into their cache; news asks for a reconcile of the fleet in the label."""

    def __init__(
        self, kube: KubeClient, kind: str, namespace: str, caches: Caches, queue: WorkQueue, freshness: Freshness
    ) -> None:
        self._kube, self._kind, self._namespace = kube, kind, namespace
        self._cache, self._queue, self._freshness = caches[kind], queue, freshness
        self._version: str | None = None
        self.source = f"{kind} in {namespace}"
        freshness.expect(self.source)

    async def step(self) -> float:
        """Lists if need be, then watches until the server ends it. Raises: KubeError."""
        try:
            if self._version is None:
                await self._list()
            await self._watch()
        except Gone:
            self._version = None
        return 0.0

    async def _list(self) -> None:
        found = await self._kube.list(self._kind, self._namespace, labelSelector=SELECT_WORKERS)
        version = found["metadata"]["resourceVersion"]
        lost = self._cache.replace(self._namespace, found["items"], version)
        self._version = version
        for child in [*lost, *found["items"]]:
            self._enqueue(child)
        self._freshness.touch(self.source)

    async def _watch(self) -> None:
        version = self._version or ""
        async for event in self._kube.watch(self._kind, self._namespace, version, labelSelector=SELECT_WORKERS):
            self._version = event["object"]["metadata"]["resourceVersion"]
            self._freshness.touch(self.source)
            self._take(event["type"], event["object"])
        self._freshness.touch(self.source)  # it ended in good order: nothing happened

    def _take(self, kind: str, child: dict[str, Any]) -> None:
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self._cache.remove(child)
        elif not self._cache.put(child):
            return  # our own write, which we have seen as its answer
        self._enqueue(child)

    def _enqueue(self, child: dict[str, Any]) -> None:
        key = fleet_by_label(child)
        if key[1]:
            self._queue.add(key)


class Resync:
    """Every minute all fleets are reconciled and deletions that nobody saw are found."""

    def __init__(
        self,
        kube: KubeClient,
        namespaces: tuple[str, ...],
        fleets: ObjectCache,
        closer: FleetCloser,
        queue: WorkQueue,
        freshness: Freshness,
    ) -> None:
        self._kube, self._namespaces, self._fleets = kube, namespaces, fleets
        self._closer, self._queue, self._freshness = closer, queue, freshness
        freshness.expect("VideoGenerators")

    async def step(self) -> float:
        """One resync. Raises: KubeError."""
        try:
            published = await self._closer.published()  # before the list: see deletions
        except QueueError:
            published = {}
        for namespace in self._namespaces:
            found = await self._kube.list("VideoGenerator", namespace)
            lost = self._fleets.replace(namespace, found["items"], found["metadata"]["resourceVersion"])
            for generator in lost:
                self._closer.note_deleted(generator["metadata"]["uid"])
        fleets = self._fleets.uids()
        self._closer.note_missing(published, {uid for _, uid in fleets})
        self._queue.add_all(key for key, _ in fleets)
        self._freshness.touch("VideoGenerators")
        return RESYNC_S * random.uniform(0.9, 1.0)  # noqa: S311 - jitter


class RedisPoll:
    """Every 2 s: what workers say and how long the queues are; a change asks for a reconcile."""

    def __init__(
        self, redis: JobQueue, fleets: ObjectCache, closer: FleetCloser, queue: WorkQueue, leadership: Leadership
    ) -> None:
        self._redis, self._fleets, self._closer, self._queue = redis, fleets, closer, queue
        self._leadership = leadership
        self._beacons: dict[str, Any] = {}
        self._figures: dict[str, tuple[Any, float]] = {}
        self._is_up = True

    async def step(self) -> float:
        """One look at every fleet, once we lead: a standby costs Redis nothing."""
        if not self._leadership.is_leading:
            FLEET_GAUGES.queues = {}
        await self._leadership.until_leading()
        await self._closer.close_pending()
        is_up = True
        outcomes: dict[str, list[Outcomes]] = {}
        queues: dict[str, QueueStats] = {}
        for key, uid in self._fleets.uids():
            try:
                queues["/".join(key)] = await self._look(key, uid)
                outcomes["/".join(key)] = await self._redis.outcomes(uid)
            except QueueError:
                is_up = False
                break
        else:
            FLEET_OUTCOMES.by_fleet = outcomes
        FLEET_GAUGES.queues = queues if is_up else {}
        REDIS_UP.set(is_up)
        if is_up != self._is_up:
            _log.warning("Redis is %s", "back" if is_up else "down; the last policy stays in force")
            self._is_up = is_up
            self._queue.add_all(key for key, _ in self._fleets.uids())
        return POLL_S

    async def _look(self, key: Key, uid: str) -> QueueStats:
        stats, beacons = await asyncio.gather(self._redis.stats(uid), self._redis.beacons(uid))
        said = [(one.worker, one.state, one.reason, one.message, one.detail.partition(":")[0]) for one in beacons]
        if self._beacons.get(uid) != said:  # steps, behind the colon, wait for the next look at the fleet
            self._beacons[uid] = said
            self._queue.add(key)
        figures, now = (rounded(stats.waiting), stats.running), time.monotonic()
        told, at = self._figures.get(uid, ((0, 0), -QUEUE_WRITE_EVERY_S))
        woke = told == (0, 0)  # a fleet at zero is not to wait for its first worker
        if told != figures and (woke or now - at >= QUEUE_WRITE_EVERY_S):
            self._figures[uid] = (figures, now)
            self._queue.add(key)
        return stats
