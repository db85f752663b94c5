"""`POST /v1/intake/pause` and `/resume`: whether a fleet takes new videos. For keys whose role is admin.

It acts on this replica's next request and within a second on the others'.
"""

from typing import Final

from aiohttp import web

from videofleet_gateway.audit import Act, record, require_admin
from videofleet_gateway.body import read_fields
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.fleet_choice import chosen_fleet
from videofleet_gateway.services import SERVICES
from videofleet_gateway.validation import model_named

UNKNOWN: Final = "unknown"


async def pause(request: web.Request) -> web.Response:
    """POST `{"model": "namespace/name"}`: what waits and runs goes on, new videos get 503."""
    return await _set(request, Act.PAUSE_INTAKE)


async def resume(request: web.Request) -> web.Response:
    """POST `{"model": "namespace/name"}`: new videos are taken again."""
    return await _set(request, Act.RESUME_INTAKE)


async def _set(request: web.Request, act: Act) -> web.Response:
    services = request.app[SERVICES]
    model = model_named(await read_fields(request))
    require_admin(request, act, model)
    async with answered_in_time():
        policy = chosen_fleet(model, await services.fleets.policies())
        change = services.queue.intake.pause if act is Act.PAUSE_INTAKE else services.queue.intake.resume
        changed = await change(policy.fleet_uid)
    services.fleets.forget()
    record(request, act, policy.fleet, "done" if changed else "unchanged")
    return web.json_response({"object": "intake", "model": policy.fleet, "paused": act is Act.PAUSE_INTAKE})
