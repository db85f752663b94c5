"""`/v1/videos`: create, list, retrieve.

A tenant sees its own jobs only; another's is answered like one that never was.
"""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from videofleet.ids import fleet_uid_of
from videofleet.jobs import Job
from videofleet.queue import FleetClosed, FleetUnknown, JobNotFound, Submitted
from videofleet_gateway import views
from videofleet_gateway.body import read_fields
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.idempotency import idempotency_key
from videofleet_gateway.paging import asked_page
from videofleet_gateway.preparing import prepared
from videofleet_gateway.problems import problem_of
from videofleet_gateway.prompts.advice import Advice
from videofleet_gateway.prompts.review import shown
from videofleet_gateway.reuse import submit_or_reuse
from videofleet_gateway.services import CALLER, JOB_ID, SERVICES
from videofleet_gateway.validation import Asked, asked_for

POLL_AFTER_MS: Final = "500"  # the OpenAI SDK reads it once and sleeps that long between polls


async def create(request: web.Request) -> web.Response:
    """POST: checks everything, then queues. 202 with a new job, 200 with the one the Idempotency-Key named before."""
    services = request.app[SERVICES]
    try:
        key = idempotency_key(request)
        asked = asked_for(await read_fields(request))
        await services.moderator.check_prompt(request[CALLER], asked.prompt, asked.negative_prompt)
        async with answered_in_time():
            submitted, advice = await _submit(request, asked, key)
            video = await services.shown(submitted.job, with_prompt=True)
    except Exception as error:
        problem = problem_of(error)
        services.metrics.submits.labels(problem.code if problem else "internal_error").inc()
        raise
    job = submitted.job
    request[JOB_ID] = job.id
    services.metrics.submits.labels("created" if submitted.created else "replayed").inc()
    return web.json_response(
        video | {"advice": shown(advice)},
        status=HTTPStatus.ACCEPTED if submitted.created else HTTPStatus.OK,
        headers={"Location": f"/v1/videos/{job.id}", "openai-poll-after-ms": POLL_AFTER_MS},
    )


async def _submit(request: web.Request, asked: Asked, key: str | None) -> tuple[Submitted, Sequence[Advice]]:
    services, caller = request.app[SERVICES], request[CALLER]
    ready = await prepared(services, caller, asked)
    again = {"idempotency_key": key, "body_digest": asked.digest} if key else {}
    new = ready.job.model_copy(update=again)
    try:
        reuses = asked.seed is not None and asked.cache
        submitted = await submit_or_reuse(services, new, ready.policy, caller.rules.limits, reuses=reuses)
        return submitted, ready.advice
    except (FleetClosed, FleetUnknown):
        services.fleets.forget()
        raise


async def listing(request: web.Request) -> web.Response:
    """GET: the tenant's videos, newest first unless `order=asc`."""
    services = request.app[SERVICES]
    page = asked_page(request.query)
    async with answered_in_time():
        jobs = await services.queue.page(
            await services.fleets.fleet_uids(),
            request[CALLER].tenant,
            after=page.after,
            limit=page.limit + 1,
            newest_first=page.newest_first,
        )
        shown = jobs[: page.limit]
        videos = [await services.shown(job, with_prompt=False) for job in shown]
    return web.json_response(views.video_list(videos, has_more=len(jobs) > len(shown)))


async def retrieve(request: web.Request) -> web.Response:
    """GET one."""
    services = request.app[SERVICES]
    async with answered_in_time():
        job = await own_job(request)
        video = await services.shown(job, with_prompt=True)
    headers = {} if job.state.is_terminal else {"openai-poll-after-ms": POLL_AFTER_MS}
    return web.json_response(video, headers=headers)


async def own_job(request: web.Request) -> Job:
    """The job that the path names, if it is the caller's. Raises: JobNotFound, QueueUnavailable."""
    named = request.match_info["id"]
    if fleet_uid_of(named) is None:
        raise JobNotFound
    job = await request.app[SERVICES].queue.get(named)
    if job.tenant != request[CALLER].tenant:
        raise JobNotFound
    expires_at_ms = await request.app[SERVICES].fleets.expires_at_ms(job)
    if expires_at_ms is not None and expires_at_ms <= time.time() * 1000:  # the reaper is about to come
        raise JobNotFound
    request[JOB_ID] = job.id
    return job
