"""Tells Redis every two seconds, and at each change of state, how the worker is.

Redis may be away; nothing waits for it. The last word is spoken after every other has arrived, so none overtakes it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from videofleet.beacons import WorkerState
from videofleet.queue import JobQueue, QueueError
from videofleet_worker.status import Status
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
FAREWELL_S = 3.0  # what the last word may take


@contextlib.asynccontextmanager
async def shining(queue: JobQueue, fleet_uid: str, status: Status) -> AsyncIterator[None]:
    """Tells while the body runs. A fault's last beacon stays, for the operator to read; a drained worker's goes."""
    over = asyncio.Event()
    telling = asyncio.create_task(_tell(queue, fleet_uid, status, over))
    try:
        yield
    finally:
        over.set()
        status.changed.set()
        try:
            async with asyncio.timeout(FAREWELL_S):
                await telling
                await _say_farewell(queue, fleet_uid, status)
        except (QueueError, TimeoutError):
            log.warning("last beacon not stored; it lapses by itself")
        finally:
            await end(telling)


async def _tell(queue: JobQueue, fleet_uid: str, status: Status, over: asyncio.Event) -> None:
    while not over.is_set():
        status.changed.clear()
        with contextlib.suppress(QueueError):
            await queue.put_beacon(fleet_uid, status.beacon())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_S):
                await status.changed.wait()


async def _say_farewell(queue: JobQueue, fleet_uid: str, status: Status) -> None:
    beacon = status.beacon()
    if status.fault is not None:
        await queue.put_beacon(fleet_uid, beacon)
    elif status.state is WorkerState.DRAINING:
        await queue.drop_beacon(fleet_uid, beacon.worker)
