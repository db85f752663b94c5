"""Leaving: `DELETE /v1/videos/{id}` for one video, `POST /v1/erase` for everything of a tenant.

The record goes first, with the prompt; its files are owed from the same moment. They are deleted before the reply where
the store lets us, and by the rounds in `files` where it does not.
"""

import asyncio
import contextlib
import logging
import re
from typing import Final

from aiohttp import web

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet.objects import checkpoint_folder
from videofleet.queue import JobNotFound, Owed
from videofleet.store import StoreError
from videofleet_gateway import views
from videofleet_gateway.audit import Act, record, require_admin
from videofleet_gateway.auth import TENANT_NAME
from videofleet_gateway.body import read_fields
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.problems import Fault, Unprocessable
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import CALLER, SERVICES, Services

log: Final = logging.getLogger(__name__)

_PAGE: Final = 100  # jobs between two looks
_AT_ONCE: Final = 16  # folders


async def delete(request: web.Request) -> web.Response:
    """DELETE: cancels what is unfinished (`deleted` is false, the record stays), removes what is finished.

    With `purge=true` it removes the job in whatever state it is.
    """
    services = request.app[SERVICES]
    purges = _purges(request)
    async with answered_in_time():
        job = await own_job(request)
        if not job.state.is_terminal and not purges:
            job = await services.queue.cancel(job.id, ErrorCode.CANCELLED_BY_USER)
            if job.state is JobState.CANCELLED:
                await _remove_checkpoints(services, job)
            if job.state is JobState.CANCELLED or not job.state.is_terminal:
                return _deletion(job, deleted=False)
        leaving = services.queue.leaving
        owed = await (leaving.purge(job.id) if purges else leaving.remove(job.id))
    if purges:
        record(request, Act.PURGE_VIDEO, job.id)
    await _delete_files(services, [owed])
    return _deletion(job, deleted=True)


async def erase(request: web.Request) -> web.Response:
    """POST: every job of the tenant, whatever its state: record, prompt, checkpoints, files. Again changes nothing."""
    services, tenant = request.app[SERVICES], await _tenant_named(request)
    if tenant != request[CALLER].tenant:
        require_admin(request, Act.ERASE_TENANT, tenant)
    fleet_uids = list(await services.queue.fleets())  # not as they were a second ago
    await services.queue.batches.forget_tenant(tenant)  # first, or their lines would become jobs behind our back,
    await services.queue.leaving.begin_erasure(fleet_uids)  # as would those that a feeder has read already
    await services.queue.idempotency.forget_tenant(tenant)
    videos, all_deleted = 0, True
    for fleet_uid in fleet_uids:
        while jobs := await services.queue.page([fleet_uid], tenant, after=None, limit=_PAGE, newest_first=False):
            owed = [await _purged(services, job) for job in jobs]
            videos += len(jobs)
            all_deleted &= await _delete_files(services, owed)
    await services.queue.leaving.forget_tenant(tenant, fleet_uids)
    record(request, Act.ERASE_TENANT, tenant)
    files = "deleted" if all_deleted else "pending"
    return web.json_response({"object": "erasure", "tenant": tenant, "videos": videos, "files": files})


async def _purged(services: Services, job: Job) -> Owed | None:
    try:
        return await services.queue.leaving.purge(job.id)
    except JobNotFound:  # it left meanwhile
        return None


async def _delete_files(services: Services, owed: list[Owed | None]) -> bool:
    """Whether all are gone now; if not, they will be."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Owed) -> bool:
        async with room:
            try:
                async with services.asking(each.store):
                    await services.files.delete(each)
            except StoreError as error:
                log.warning("files not deleted yet", extra={"error": str(error)})
                return False
            return True

    return all(await asyncio.gather(*(one(each) for each in owed if each is not None)))


async def _remove_checkpoints(services: Services, job: Job) -> None:
    """Of a job that no worker holds; one that does removes them itself. What is left goes with the record."""
    if job.attempt and (policy := await services.queue.policy(job.fleet_uid)) is not None:
        with contextlib.suppress(StoreError):
            await services.store(policy.store).remove_folder(checkpoint_folder(job.request.output_prefix, job.id))


def _purges(request: web.Request) -> bool:
    given = request.query.get("purge", "false")
    if given not in ("true", "false"):
        raise Unprocessable.from_faults([Fault("purge", "must be true or false; leave it out to cancel first")])
    return given == "true"


async def _tenant_named(request: web.Request) -> str:
    fields = await read_fields(request)
    faults = [Fault(name[:64], "unknown field; known is tenant") for name in fields if name != "tenant"]
    named = fields.get("tenant")
    if not isinstance(named, str) or not re.fullmatch(TENANT_NAME, named):
        faults.append(Fault("tenant", "is required: the name of the tenant, so that none is erased by mistake"))
    if faults:
        raise Unprocessable.from_faults(faults[:20])
    return str(named)


def _deletion(job: Job, *, deleted: bool) -> web.Response:
    ended = "failed" if deleted and not job.state.is_terminal else views.status(job)
    return web.json_response({"id": job.id, "object": "video.deleted", "deleted": deleted, "status": ended})
