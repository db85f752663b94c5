"""The reaper: every few seconds, jobs of silent workers return to their queue, those past their retention go, and
fleets that were deleted follow the last of theirs.

Runs in every gateway replica. Reaping twice changes nothing.
"""

import logging
from typing import Final

from videofleet.queue import JobQueue
from videofleet_gateway.metrics import Metrics

log: Final = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
ROUND_S: Final = 30.0


async def reap_once(queue: JobQueue, metrics: Metrics) -> None:
    """One round over every fleet. Raises: QueueError."""
    for fleet_uid in await queue.fleets():
        if touched := await queue.reap(fleet_uid):
            metrics.reaped.inc(len(touched))
            log.info("expired leases ended", extra={"fleet_uid": fleet_uid, "jobs": touched[:20]})
        while gone := await queue.leaving.expire(fleet_uid):
            metrics.expired.inc(len(gone))
            log.info("jobs past their retention removed", extra={"fleet_uid": fleet_uid, "jobs": gone[:20]})
        if await queue.leaving.sweep(fleet_uid):
            log.info("a deleted fleet has left", extra={"fleet_uid": fleet_uid})
