"""Dead letters: jobs that ran out of attempts, or that no worker could read. A tenant acts on its own ones.

Deleting one is `DELETE /v1/videos/{id}`, as for every finished video.
"""

from http import HTTPStatus

from aiohttp import web

from videofleet_gateway import views
from videofleet_gateway.audit import Act, record
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import CALLER, SERVICES


async def listing(request: web.Request) -> web.Response:
    """GET: the tenant's dead jobs of all fleets, the latest first in each."""
    services = request.app[SERVICES]
    async with answered_in_time():
        videos = [
            await services.shown(job, with_prompt=False)
            for fleet_uid in await services.fleets.fleet_uids()
            for job in await services.queue.dead(fleet_uid, request[CALLER].tenant)
        ]
    return web.json_response(views.video_list(videos, has_more=False))


async def replay(request: web.Request) -> web.Response:
    """POST: back to the queue with all its attempts. 202, or 409 when the job is not dead."""
    services = request.app[SERVICES]
    async with answered_in_time():
        job = await services.queue.replay((await own_job(request)).id)
        shown = await services.shown(job, with_prompt=True)
    record(request, Act.REPLAY_VIDEO, job.id)
    return web.json_response(shown, status=HTTPStatus.ACCEPTED)
