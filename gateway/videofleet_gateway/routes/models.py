"""`/v1/models`: the fleets that the caller may use."""

from aiohttp import web

from videofleet_gateway import views
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.fleet_choice import open_to
from videofleet_gateway.services import CALLER, SERVICES


async def listing(request: web.Request) -> web.Response:
    """GET: fleets as models, with the tiers each offers."""
    async with answered_in_time():
        policies = await request.app[SERVICES].fleets.policies()
    usable = [policy for policy in open_to(request[CALLER].tenant, policies) if policy.closed is None]
    models = [views.model(policy) for policy in sorted(usable, key=lambda policy: policy.fleet)]
    return web.json_response({"object": "list", "data": models})
