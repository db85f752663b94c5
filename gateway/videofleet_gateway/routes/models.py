"""`/v1/models`: the fleets that the caller may use."""

import time

from aiohttp import web

from videofleet_gateway import fleet_view
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.fleet_choice import open_to
from videofleet_gateway.services import CALLER, SERVICES


async def listing(request: web.Request) -> web.Response:
    """GET: fleets as models, with the tiers each offers, how busy it is, and what was decided about it."""
    services = request.app[SERVICES]
    async with answered_in_time():
        policies = await services.fleets.policies()
        usable = [policy for policy in open_to(request[CALLER].tenant, policies) if policy.closed is None]
        usable.sort(key=lambda policy: policy.fleet)
        models = [
            fleet_view.model(
                policy,
                await services.figures.of(policy.fleet_uid),
                services.fleets.decided(policy.fleet_uid),
                is_paused=await services.fleets.is_paused(policy.fleet_uid),
                now_ms=int(time.time() * 1000),
            )
            for policy in usable
        ]
    return web.json_response({"object": "list", "data": models})
