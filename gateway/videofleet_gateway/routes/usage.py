"""`/v1/usage`: what the tenant has, and what it may."""

from aiohttp import web

from videofleet_gateway import views
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.services import CALLER, SERVICES


async def usage(request: web.Request) -> web.Response:
    """GET: records by state, and the worker seconds ever used, over all fleets."""
    services, caller = request.app[SERVICES], request[CALLER]
    async with answered_in_time():
        used = await services.queue.usage(await services.fleets.fleet_uids(), caller.tenant)
    return web.json_response(views.usage(used.jobs, used.worker_seconds, caller))
