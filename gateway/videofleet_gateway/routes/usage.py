"""`/v1/usage`: what the tenant has, and what it may."""

from collections import Counter

from aiohttp import web

from videofleet_gateway import views
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.services import CALLER, SERVICES


async def usage(request: web.Request) -> web.Response:
    """GET: jobs by state and worker seconds, over all fleets, from the records that were not deleted."""
    services, caller = request.app[SERVICES], request[CALLER]
    jobs: Counter[str] = Counter()
    worker_seconds = 0.0
    async with answered_in_time():
        for fleet_uid in await services.fleets.fleet_uids():
            used = await services.queue.usage(fleet_uid, caller.tenant)
            jobs.update(used.jobs)
            worker_seconds += used.worker_seconds
    return web.json_response(views.usage(jobs, worker_seconds, caller))
