"""`POST /v1/videos/{id}/links`: addresses that open one video without a key, for some minutes."""

import time
from typing import Final

from aiohttp import web

from videofleet_gateway.body import read_fields
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.links import DEFAULT_LIFE_S, MAX_LIFE_S, PARAMETER, token
from videofleet_gateway.problems import Fault, Unprocessable
from videofleet_gateway.routes.content import VARIANTS
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import CALLER, SERVICES

MIN_LIFE_S: Final = 60


async def create(request: web.Request) -> web.Response:
    """POST: a link to each variant and to the events. The body may say `expires_in`, in seconds."""
    life_s = _life_s(await read_fields(request) if request.can_read_body else {})
    async with answered_in_time():
        job = await own_job(request)
        expires_at_s = int(time.time()) + life_s
        opens = await token(request.app[SERVICES].queue.signing, request[CALLER], job.id, expires_at_s)
    content = f"/v1/videos/{job.id}/content?{PARAMETER}={opens}&variant="
    links = {variant: content + variant for variant in VARIANTS}
    links["events"] = f"/v1/videos/{job.id}/events?{PARAMETER}={opens}"
    body = {"id": job.id, "object": "video.links", "expires_at": expires_at_s, "links": links}
    return web.json_response(body, status=201, headers={"Cache-Control": "no-store"})


def _life_s(fields: dict[str, object]) -> int:
    faults = [Fault(name[:64], "unknown field; known is expires_in") for name in fields if name != "expires_in"]
    given = str(fields.get("expires_in", DEFAULT_LIFE_S))
    if not (given.isascii() and given.isdigit() and len(given) < 9 and MIN_LIFE_S <= int(given) <= MAX_LIFE_S):
        faults.append(Fault("expires_in", f"must be whole seconds from {MIN_LIFE_S} to {MAX_LIFE_S}; or leave it out"))
    if faults:
        raise Unprocessable.from_faults(faults[:20])
    return int(given)
