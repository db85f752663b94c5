"""The reaper: every few seconds, jobs whose worker went silent return to their queue. Runs in every gateway replica.

Reaping twice changes nothing. An outage is logged when it begins and when it ends, however long it lasts.
"""

import asyncio
import logging
import random
from typing import Final

from videofleet.queue import JobQueue, QueueError
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.trouble import describe

log: Final = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
ROUND_S: Final = 30.0  # a round that takes longer is an outage


async def reap_forever(queue: JobQueue, metrics: Metrics) -> None:
    """Reaps until cancelled."""
    trouble = False
    while True:
        try:
            async with asyncio.timeout(ROUND_S):
                await reap_once(queue, metrics)
        except (QueueError, TimeoutError) as error:
            if not trouble:
                log.warning("reaping stands still until Redis answers", extra={"error": type(error).__name__})
            trouble = True
        except Exception as error:  # a bug must not end the loop that gives lost jobs back
            log.error("reaping failed", extra=describe(error))
        else:
            if trouble:
                log.info("reaping again")
            trouble = False
        # Jitter: replicas and restarts do not march in step.
        await asyncio.sleep(PAUSE_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it


async def reap_once(queue: JobQueue, metrics: Metrics) -> None:
    """One round over every fleet. Raises: QueueError."""
    for fleet_uid in await queue.fleets():
        touched = await queue.reap(fleet_uid)
        if touched:
            metrics.reaped.inc(len(touched))
            log.info("expired leases ended", extra={"fleet_uid": fleet_uid, "jobs": touched[:20]})
