"""Tells Redis every two seconds, and at each change of state, how the worker is.

Redis may be away; nothing waits for it.
"""

import asyncio
import contextlib
import logging

from videofleet.queue import JobQueue, QueueError
from videofleet_worker.status import Status

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
FAREWELL_S = 3.0  # what the last word may take


async def shine(queue: JobQueue, fleet_uid: str, status: Status) -> None:
    """Runs for ever."""
    while True:
        status.changed.clear()
        with contextlib.suppress(QueueError):
            await queue.put_beacon(fleet_uid, status.beacon())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_S):
                await status.changed.wait()


async def say_farewell(queue: JobQueue, fleet_uid: str, status: Status) -> None:
    """After a fault the beacon stays, so that the operator sees the reason; after a drain it goes."""
    beacon = status.beacon()
    try:
        async with asyncio.timeout(FAREWELL_S):
            if status.fault is not None:
                await queue.put_beacon(fleet_uid, beacon)
            else:
                await queue.drop_beacon(fleet_uid, beacon.worker)
    except (QueueError, TimeoutError):
        log.warning("last beacon not stored; it lapses by itself")
