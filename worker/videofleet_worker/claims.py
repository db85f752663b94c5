"""Asks the queue for the next job until there is one, or until somebody says to leave off."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

from videofleet.jobs import Claim
from videofleet.queue import JobQueue, QueueError

log = logging.getLogger(__name__)

POLL_S: Final = 0.2  # between two questions while nothing waits; ± a fifth, so that workers do not march in step
RETRY_MOST_S: Final = 2.0


async def next_claim(
    queue: JobQueue,
    *,
    fleet_uid: str,
    worker: str,
    revision: str,
    leave_off: asyncio.Event,
    died: Callable[[], bool],
    marked: Callable[[bool], None],
) -> Claim | None:
    """The next job, or None once `leave_off` is set or compute has died. Redis may be away meanwhile.

    `marked` hears at each answer whether the operator wants this worker to go.
    """
    away_s = 0.0
    while not (leave_off.is_set() or died()):
        try:
            claimed = await queue.claim(fleet_uid, worker=worker, revision=revision)
        except QueueError as error:
            if not away_s:
                log.warning("queue does not answer; the worker waits for it", extra={"error": str(error)})
            away_s = min(RETRY_MOST_S, 2 * away_s or POLL_S)
        else:
            marked(claimed.is_marked)
            if claimed.claims:
                return claimed.claims[0]
            away_s = 0.0
        pause_s = (away_s or POLL_S) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await leave_off.wait()
    return None
