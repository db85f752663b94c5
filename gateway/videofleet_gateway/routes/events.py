"""`/v1/videos/{id}/events`: a job's life as server-sent events, until it ends.

A stream ends after `done` or `deleted`. At a rolling restart it ends in between; a client that comes back with
`Last-Event-ID` hears only what is new to it.
"""

import time
from contextlib import AsyncExitStack, suppress
from typing import Final

from aiohttp import web

from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.events.snapshot import HEARTBEAT, RETRY, event
from videofleet_gateway.events.watches import Watch
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import SERVICES

HEARTBEAT_S: Final = 10.0  # below the idle limits of the usual proxies
_WAKE_S: Final = 1.0  # how soon a stream notices that the gateway drains


async def events(request: web.Request) -> web.StreamResponse:
    """GET: the stream; 204 for a client that has seen the end already, so that it stops coming back."""
    services = request.app[SERVICES]
    async with AsyncExitStack() as listening:
        async with answered_in_time():
            job = await own_job(request)
            model = await services.fleets.name(job.fleet_uid)
            watch = await listening.enter_async_context(services.watches.on(job))
        seen = request.headers.get("Last-Event-ID", "")
        if watch.latest.is_last and watch.latest.event_id == seen:
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        with suppress(ConnectionError):  # a client that left is no error
            await _stream(request, response, watch, model, seen)
        return response


async def _stream(request: web.Request, response: web.StreamResponse, watch: Watch, model: str, seen: str) -> None:
    """Writes what is new until the end. Raises: ConnectionError."""
    services = request.app[SERVICES]
    await response.write(RETRY)
    written_at = time.monotonic()
    while not services.draining and request.transport is not None:
        if watch.latest.event_id != seen:
            seen = watch.latest.event_id
            await response.write(event(watch.latest, model))
            written_at = time.monotonic()
        elif watch.over:
            break
        elif time.monotonic() - written_at >= HEARTBEAT_S:
            await response.write(HEARTBEAT)
            written_at = time.monotonic()
        else:
            await watch.news(_WAKE_S)
    await response.write_eof()
