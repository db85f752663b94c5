"""The loop that submits what batches hold, in every gateway replica. Doing it twice is one job.

A batch never fills a fleet's queue: it takes at most half of the fleet's depth, no more than the tenant's limits
allow, and waits for room otherwise. Cancelling asks each submitted job to stop.
"""

import logging
import time
from collections.abc import Mapping
from typing import Final

from videofleet.jobs import ErrorCode, NewJob
from videofleet.queue import (
    Batch,
    BatchLine,
    BatchNotFound,
    ErasedMeanwhile,
    FleetClosed,
    FleetUnknown,
    JobNotFound,
    LimitReached,
    QueueFull,
)
from videofleet_gateway.problems import problem_of
from videofleet_gateway.services import Services

log: Final = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
ROUND_S: Final = 60.0
_AT_ONCE: Final = 20  # batches of one round
_LINES: Final = 50  # submitted between two commits: what a crash makes to be asked for again
_ROOM_MS: Final = 2_000  # until room is looked for again
_ORPHAN_MS: Final = 600_000  # a batch that nobody completed within is none
_CANCELLED: Final = {"job": None, "error_code": "cancelled", "error_message": "The batch was cancelled before."}


async def feed_once(services: Services) -> None:
    """One round over the batches that have work left. Raises: QueueError."""
    for tenant, batch_id in await services.queue.batches.take(_AT_ONCE):
        try:
            batch = await services.queue.batches.get(tenant, batch_id)
        except BatchNotFound:
            await _close_orphan(services, tenant, batch_id)
            continue
        await (_feed(services, batch) if batch.cancelled_at_ms is None else _cancel(services, batch))


async def _close_orphan(services: Services, tenant: str, batch_id: str) -> None:
    created_ms = int(batch_id.removeprefix("batch_")[:12], 16)
    if time.time() * 1000 - created_ms > _ORPHAN_MS:
        await services.queue.batches.close(tenant, batch_id)


async def _feed(services: Services, batch: Batch) -> None:
    cursor = batch.cursor
    while cursor < batch.total:
        # First: what is erased from now on is no batch any more, or its lines are refused as jobs.
        erasures = await services.queue.leaving.erasures(await services.fleets.fleet_uids())
        lines = await services.queue.batches.lines(batch, cursor, _LINES)
        done = []
        for line in lines:
            dealt = await _submitted(services, batch.tenant, line, erasures)
            if dealt is None:
                break
            done.append(dealt)
        if not lines or (done and not await services.queue.batches.commit(batch, cursor, done)):
            return  # another feeder has it
        cursor += len(done)
        if len(done) < len(lines):
            await services.queue.batches.again(batch.tenant, batch.id, int(time.time() * 1000) + _ROOM_MS)
            return
        if (await services.queue.batches.get(batch.tenant, batch.id)).cancelled_at_ms is not None:
            return  # its place in the index is due at once
    await services.queue.batches.close(batch.tenant, batch.id)
    log.info("batch submitted", extra={"batch": batch.id, "tenant": batch.tenant, "lines": batch.total})


async def _submitted(services: Services, tenant: str, line: BatchLine, erasures: Mapping[str, int]) -> BatchLine | None:
    """The line as a job or an error; None when it cannot be now."""
    if line.job is None:
        return line
    known = erasures.get(line.job.fleet_uid)
    if known is None or not await _has_room(services, line.job):
        return None
    try:
        submitted = await services.queue.submit(line.job, services.keys.rules(tenant).limits, erasures=known)
    except (QueueFull, LimitReached, ErasedMeanwhile):
        return None
    except (FleetClosed, FleetUnknown) as error:
        problem = problem_of(error)
        code, message = (problem.code, problem.detail) if problem else ("fleet_deleted", "the fleet is gone")
        return line.model_copy(update={"job": None, "error_code": code, "error_message": message})
    return line.model_copy(update={"job": None, "video_id": submitted.job.id})


async def _has_room(services: Services, job: NewJob) -> bool:
    """Whether the fleet's line is less than half full."""
    policy = await services.fleets.policy(job.fleet_uid)
    if policy is None or policy.closed is not None:
        return True  # submitting it says why not
    if await services.fleets.is_paused(job.fleet_uid):
        return False  # as long as a person says so
    return (await services.figures.of(job.fleet_uid)).stats.waiting * 2 <= policy.max_depth


async def _cancel(services: Services, batch: Batch) -> None:
    first = 0
    while first < batch.total:
        lines = await services.queue.batches.lines(batch, first)
        if not lines:
            return
        for line in lines:
            if line.video_id is not None:
                await _cancel_job(services, line.video_id)
        if first + len(lines) > batch.cursor:
            begin = max(first, batch.cursor)
            left = [_stopped(line) for line in lines[begin - first :]]
            if not await services.queue.batches.commit(batch, begin, left):
                return  # a feeder was still at it: everything again, with its lines
            batch = await services.queue.batches.get(batch.tenant, batch.id)
        first += len(lines)
    await services.queue.batches.close(batch.tenant, batch.id)
    log.info("batch cancelled", extra={"batch": batch.id, "tenant": batch.tenant})


def _stopped(line: BatchLine) -> BatchLine:
    return line if line.job is None else line.model_copy(update=_CANCELLED)


async def _cancel_job(services: Services, job_id: str) -> None:
    try:
        await services.queue.cancel(job_id, ErrorCode.CANCELLED_BY_USER)
    except JobNotFound:
        return  # deleted meanwhile
