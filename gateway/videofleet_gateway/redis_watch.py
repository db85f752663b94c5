"""Whether Redis keeps up with its disk: what it acknowledges before it is written may be lost with it.

`appendfsync` cannot be read without CONFIG; what `everysec` does on a slow disk can. Every replica looks for itself.
"""

import logging
from typing import Final

from videofleet.queue import JobQueue, Persistence
from videofleet_gateway.metrics import Metrics

log: Final = logging.getLogger(__name__)

PAUSE_S: Final = 10.0
ROUND_S: Final = 5.0


class RedisWatch:
    """Looks again and again; says it once when something begins, and again when it ends."""

    def __init__(self, queue: JobQueue, metrics: Metrics) -> None:
        self._queue = queue
        self._metrics = metrics
        self._seen: Persistence | None = None
        self._is_late = False
        self._is_failing = False

    async def look(self) -> None:
        """One look. Raises: QueueError when Redis is away or may lose jobs by its settings."""
        found = await self._queue.check_durability()
        is_same = self._seen is not None and self._seen.run_id == found.run_id
        before = self._seen.late_fsyncs if self._seen and is_same else 0
        fresh, is_first, self._seen = found.late_fsyncs - before, self._seen is None, found
        if not is_first:  # what was before is counted by somebody else, or nobody
            self._metrics.redis_late_fsyncs.inc(fresh)
        self._metrics.redis_write_failing.set(found.is_failing)
        self._say_late(fresh)
        self._say_failing(found.is_failing)

    def _say_late(self, fresh: int) -> None:
        if fresh and not self._is_late:
            log.warning(
                "Redis acknowledged jobs before they were on disk, because an fsync took 2 s or more; killed at such a "
                "moment it loses them: set `appendfsync always`, or give it a faster disk",
                extra={"times": fresh},
            )
        elif self._is_late and not fresh:
            log.info("Redis keeps up with its disk again")
        self._is_late = fresh > 0

    def _say_failing(self, is_failing: bool) -> None:
        if is_failing and not self._is_failing:
            log.warning(
                "Redis cannot write its append-only file and refuses jobs: look for a full disk, and its own log"
            )
        elif self._is_failing and not is_failing:
            log.info("Redis writes its append-only file again")
        self._is_failing = is_failing
