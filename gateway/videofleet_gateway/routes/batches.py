"""`/v1/batches`: hand in many requests at once, see how they stand, fetch the results, cancel.

Everything is read under the caller's tenant, so another's batch is like one that never was.
"""

import asyncio
import hashlib
import re
import secrets
import time
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from videofleet.queue import Batch, BatchNotFound, batch_id
from videofleet_gateway.batches import views
from videofleet_gateway.batches.intake import read_lines
from videofleet_gateway.body import read_file
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.idempotency import idempotency_key
from videofleet_gateway.paging import asked_page
from videofleet_gateway.services import CALLER, SERVICES

MAX_FILE_BYTES: Final = 8 << 20
_ID: Final = re.compile(r"batch_[0-9a-f]{32}")
_PAGE: Final = 200  # results in one round trip


async def create(request: web.Request) -> web.Response:
    """POST: keeps the file's lines; 202 with the batch, or 200 with the one that the Idempotency-Key named before."""
    services, caller = request.app[SERVICES], request[CALLER]
    key = idempotency_key(request)
    data = await read_file(request, MAX_FILE_BYTES)
    lines = await read_lines(services, caller, data)
    now_ms = int(time.time() * 1000)
    new = Batch(batch_id(now_ms, secrets.token_bytes(10)), caller.tenant, now_ms, total=len(lines), cursor=0)
    digest = hashlib.sha256(key.encode()).hexdigest() if key else ""
    async with answered_in_time():
        known, created = await services.queue.batches.create(new, lines, digest, hashlib.sha256(data).hexdigest())
        shown = await _shown(request, await services.queue.batches.get(caller.tenant, known))
    return web.json_response(
        shown,
        status=HTTPStatus.ACCEPTED if created else HTTPStatus.OK,
        headers={"Location": f"/v1/batches/{known}"},
    )


async def listing(request: web.Request) -> web.Response:
    """GET: the tenant's batches, the latest first."""
    page = asked_page(request.query, is_id=lambda text: bool(_ID.fullmatch(text)), has_order=False)
    services = request.app[SERVICES]
    async with answered_in_time():
        found = await services.queue.batches.page(request[CALLER].tenant, after=page.after, limit=page.limit + 1)
        shown = [await _shown(request, batch) for batch in found[: page.limit]]
    return web.json_response(
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(found) > len(shown),
        }
    )


async def retrieve(request: web.Request) -> web.Response:
    """GET one."""
    async with answered_in_time():
        return web.json_response(await _shown(request, await _own(request)))


async def cancel(request: web.Request) -> web.Response:
    """POST: nothing more is submitted, and what was is cancelled. 202; `cancelled` once every job has stopped."""
    services = request.app[SERVICES]
    async with answered_in_time():
        batch = await _own(request)
        if not (await _stands(request, batch)).is_over:
            await services.queue.batches.cancel(batch, int(time.time() * 1000))
        shown = await _shown(request, await _own(request))
    return web.json_response(shown, status=HTTPStatus.ACCEPTED)


async def results(request: web.Request) -> web.StreamResponse:
    """GET: a line for each line of the file, in its order, however far it is."""
    services = request.app[SERVICES]
    async with answered_in_time():
        batch = await _own(request)
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    response.content_type = "application/jsonl"
    await response.prepare(request)
    for first in range(0, batch.total, _PAGE):
        async with asyncio.timeout(30):
            lines = await services.queue.batches.lines(batch, first, _PAGE)
            ids = [line.video_id for line in lines if line.video_id is not None]
            jobs = dict(zip(ids, await services.queue.batches.jobs(ids), strict=True))
        text = b"".join(views.result(line, jobs.get(line.video_id or "")) for line in lines)
        await response.write(text)
    await response.write_eof()
    return response


async def _own(request: web.Request) -> Batch:
    named = request.match_info["id"]
    if not _ID.fullmatch(named):
        raise BatchNotFound
    return await request.app[SERVICES].queue.batches.get(request[CALLER].tenant, named)


async def _shown(request: web.Request, batch: Batch) -> dict[str, Any]:
    return views.batch(batch, await _stands(request, batch))


async def _stands(request: web.Request, batch: Batch) -> views.Standing:
    batches = request.app[SERVICES].queue.batches
    lines = await batches.lines(batch, 0, batch.total)
    ids = [line.video_id for line in lines if line.video_id is not None]
    return views.standing(lines, await batches.endings(ids))
