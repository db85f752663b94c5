"""A level-triggered work queue: keys in, one reconcile at a time, errors tried again with a growing pause.

Invariant: a key that is queued ten times is reconciled once, and one that changes during its reconcile again after it.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from videofleet_devcluster.client import ApiError
from videofleet_devcluster.objects import Key, Object, key_of

_log: Final = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 10.0

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Moves one object closer to its wanted state; returns the seconds after which to look again, or None."""


class Loop:
    """Runs `reconcile` for every key that was added."""

    def __init__(self, name: str, reconcile: Reconcile) -> None:
        self._name, self._reconcile = name, reconcile
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        self._waiting[key] = None
        self._wake.set()

    def hear(self, obj: Object, _before: Object | None = None) -> None:
        """Asks for a reconcile of an object; a listener of informers."""
        self.add(key_of(obj))

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._waiting:
                self._wake.clear()
                continue
            key, _ = self._waiting.popitem(last=False)
            again_s = await self._attempt(key)
            if again_s is not None:
                asyncio.get_running_loop().call_later(again_s, self.add, key)

    async def _attempt(self, key: Key) -> float | None:
        told = {"loop": self._name, "key": "/".join(key)}
        try:
            again_s = await self._reconcile(key)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            _log.debug("reconcile failed", extra=told | {"error": str(error)})
            return float(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S))
        except Exception:
            _log.exception("a reconcile has a bug", extra=told)
            return _LONGEST_PAUSE_S
        self._failures.pop(key, None)
        return again_s
