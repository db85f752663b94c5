"""Closes the queues of fleets whose VideoGenerator is gone, also of those that went while nobody watched.

A fleet is closed only when it was seen to be deleted, or when a complete list of its namespace, made *after* Redis was
asked which fleets there are, lacks it: a fleet that is in Redis had its VideoGenerator before that.
"""

import logging

from videofleet.jobs import ErrorCode
from videofleet.queue import JobQueue, QueueError
from videofleet_operator.kube.errors import NotLeading
from videofleet_operator.leadership import Leadership

_log = logging.getLogger(__name__)


class FleetCloser:
    """Remembers whom to close until Redis has agreed."""

    def __init__(self, queue: JobQueue, namespaces: tuple[str, ...], leadership: Leadership) -> None:
        self._queue = queue
        self._leadership = leadership
        self._namespaces = namespaces
        self._pending: set[str] = set()
        self._closed: set[str] = set()

    def note_deleted(self, uid: str) -> None:
        """This VideoGenerator is gone for good; UIDs are never used twice."""
        if uid not in self._closed:
            self._pending.add(uid)

    async def published(self) -> dict[str, str]:
        """Fleets in Redis that belong to our namespaces: UID → namespace/name. Raises: QueueError."""
        fleets = await self._queue.fleets()
        return {uid: name for uid, name in fleets.items() if name.partition("/")[0] in self._namespaces}

    def note_missing(self, published: dict[str, str], live: set[str]) -> None:
        """Whoever was published before the list was made and is not in it was deleted."""
        for uid in set(published) - live:
            self.note_deleted(uid)

    async def close_pending(self) -> None:
        """Closes what is to be closed, while we lead; what Redis does not take now is tried again at the next call."""
        for uid in sorted(self._pending):
            try:
                self._leadership.check()
                cancelled = await self._queue.close_fleet(uid, ErrorCode.FLEET_DELETED)
            except (QueueError, NotLeading):
                return
            self._pending.discard(uid)
            self._closed.add(uid)
            _log.info("fleet closed", extra={"fleet_uid": uid, "cancelled_jobs": len(cancelled)})
