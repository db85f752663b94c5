"""Keys to reconcile: one run at a time for each key, a few keys at a time, back-off for those that fail.

A key added while it is being reconciled is reconciled once more afterwards; a key added twice runs once. Nothing is
lost by adding too often: reconciling is level-triggered.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from videofleet_operator.kube.errors import Conflict, KubeError, NotLeading, Throttled
from videofleet_operator.metrics import QUEUE_DEPTH

Key = tuple[str, str]  # namespace, name

_BACKOFF_S: Final = 0.25
_BACKOFF_MAX_S: Final = 30.0
_log = logging.getLogger(__name__)


class WorkQueue:
    """Feeds `reconcile` with keys; it returns after how many seconds it wants to see the key again, or None."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[float | None]], concurrency: int = 4) -> None:
        self._reconcile = reconcile
        self._concurrency = concurrency
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Asks for a reconcile now."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.put_nowait(key)
            QUEUE_DEPTH.set(len(self._queued))

    def add_all(self, keys: Iterable[Key]) -> None:
        """Asks for a reconcile of each now."""
        for key in keys:
            self.add(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Asks for a reconcile later; the sooner of two requests counts."""
        loop = asyncio.get_running_loop()
        pending = self._later.get(key)
        if pending is not None and pending.when() <= loop.time() + delay_s:
            return
        if pending is not None:
            pending.cancel()
        self._later[key] = loop.call_later(delay_s, self._due, key)

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        """Reconciles until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            self._queued.discard(key)
            QUEUE_DEPTH.set(len(self._queued))
            self._running.add(key)
            try:
                await self._once(key)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _once(self, key: Key) -> None:
        try:
            again_s = await self._reconcile(key)
        except NotLeading:  # a new term begins with every fleet
            _log.info("left to the leader", extra={"fleet": "/".join(key)})
            return
        except Exception as error:
            self._failed(key, error)
            return
        self._failures.pop(key, None)
        if again_s is not None:
            self.add_after(key, again_s)

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = min(_BACKOFF_MAX_S, _BACKOFF_S * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
        if isinstance(error, Conflict):
            delay_s = min(delay_s, _BACKOFF_S)
        if isinstance(error, Throttled):
            delay_s = max(delay_s, error.retry_after_s)
        extra = {"fleet": "/".join(key), "failures": failures, "retry_in_s": round(delay_s, 2)}
        if isinstance(error, Conflict):
            _log.info("the world changed while writing; planning again", extra=extra)
        elif isinstance(error, KubeError):
            _log.warning("reconcile failed: %s", error, extra=extra)
        else:
            _log.error("reconcile failed", exc_info=error, extra=extra)
        self.add_after(key, delay_s)
