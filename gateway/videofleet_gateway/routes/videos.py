"""`/v1/videos`: create, list, retrieve.

A tenant sees its own jobs only; another's is answered like one that never was.
"""

import re
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from videofleet.ids import fleet_uid_of, job_id
from videofleet.jobs import Job, NewJob, VideoRequest
from videofleet.policy import FleetPolicy
from videofleet.queue import FleetClosed, FleetUnknown, JobNotFound, Submitted
from videofleet_gateway import views
from videofleet_gateway.body import read_fields
from videofleet_gateway.deadlines import deadline_ms
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.fleet_choice import chosen_fleet, open_to
from videofleet_gateway.paging import asked_page
from videofleet_gateway.problems import Fault, Unprocessable, intake_paused, problem_of
from videofleet_gateway.prompts.advice import Advice, Weight
from videofleet_gateway.prompts.review import Review, review, shown
from videofleet_gateway.reuse import submit_or_reuse
from videofleet_gateway.services import CALLER, JOB_ID, SERVICES
from videofleet_gateway.validation import Asked, asked_for, video_request
from videofleet_gateway.webhooks.admission import check_webhook

POLL_AFTER_MS: Final = "500"  # the OpenAI SDK reads it once and sleeps that long between polls
_RANDOM_SEEDS: Final = 1 << 32  # below 2**53, so that JavaScript reads it back exactly
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


async def create(request: web.Request) -> web.Response:
    """POST: checks everything, then queues. 202 with a new job, 200 with the one the Idempotency-Key named before."""
    services = request.app[SERVICES]
    try:
        key = _idempotency_key(request)
        asked = asked_for(await read_fields(request))
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
    services, tenant, rules = request.app[SERVICES], request[CALLER].tenant, request[CALLER].rules
    policy = chosen_fleet(asked.model, open_to(tenant, await services.fleets.policies()))
    check_webhook(asked.webhook, tenant, services.webhooks)
    if await services.fleets.is_paused(policy.fleet_uid):
        raise intake_paused(policy.fleet)
    made = video_request(asked, policy, secrets.randbelow(_RANDOM_SEEDS))
    judged = review(asked.prompt, rules.prompt_policy, rules.blocked_terms)
    advice = [*judged.advice, *_lowered(judged, made, policy)]
    for each in advice:
        services.metrics.advice.labels(each.code).inc()
    now_ms = int(time.time() * 1000)
    new = NewJob(
        id=job_id(policy.fleet_uid, now_ms, secrets.token_bytes(10)),
        fleet_uid=policy.fleet_uid,
        tenant=tenant,
        request=made.model_copy(update={"tier": policy.tiers[-1]}) if judged.lowest_tier else made,
        priority=asked.priority,
        deadline_ms=deadline_ms(asked.deadline, now_ms),
        webhook=asked.webhook,
        idempotency_key=key,
        body_digest=asked.digest,
    )
    try:
        reuses = asked.seed is not None and asked.cache
        return await submit_or_reuse(services, new, policy, rules.limits, reuses=reuses), advice
    except (FleetClosed, FleetUnknown):
        services.fleets.forget()
        raise


def _lowered(judged: Review, made: VideoRequest, policy: FleetPolicy) -> list[Advice]:
    """Says so when the tenant's policy changes the tier."""
    lowest = policy.tiers[-1]
    if not judged.lowest_tier or made.tier == lowest:
        return []
    return [
        Advice(
            "lower_tier", f"is made in tier {lowest.name}, as your organisation wishes for such prompts", Weight.HINT
        )
    ]


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Unprocessable.from_faults([Fault("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
    return key


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
