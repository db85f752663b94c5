"""What surrounds every route: an id, one log line, metrics, errors as problem documents, the key check and rate limits.

A log line holds the route's template, never the path, query, body or key that a client sent.
"""

import logging
import secrets
import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from videofleet.queue import QueueUnavailable
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.links import PARAMETER, link_caller
from videofleet_gateway.problems import Problem, TooManyRequests, Unauthorized, document, problem_of
from videofleet_gateway.services import CALLER, JOB_ID, RATE, REQUEST_ID, SERVICES
from videofleet_gateway.trouble import describe

log: Final = logging.getLogger("videofleet.gateway.access")

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE"})


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: gives the request its id, then counts and logs how it ended."""
    request[REQUEST_ID] = f"req_{secrets.token_hex(12)}"
    began = time.perf_counter()
    status = 499  # the client went away: nobody got a status
    try:
        response = await handler(request)
        status = response.status
        if request.app[SERVICES].draining and not response.prepared:
            response.force_close()  # the client's next request goes to another replica
        return response
    finally:
        _record(request, status, time.perf_counter() - began)


def _record(request: web.Request, status: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unmatched"
    method = request.method if request.method in _METHODS else "OTHER"
    metrics = request.app[SERVICES].metrics
    metrics.requests.labels(route, method, str(status)).inc()
    metrics.request_seconds.labels(route, method).observe(seconds)
    caller = request.get(CALLER)
    fields = {
        "request": request[REQUEST_ID],
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "tenant": caller.tenant if caller else None,
        "key": caller.key_id if caller else None,
        "job": request.get(JOB_ID),
    }
    log.info("request", extra=fields)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Before headers are sent, of streams too: the request's id, no guessing of types, no version of anything."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "videofleet"
    if RATE in request:
        response.headers.update(request[RATE].headers)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every exception into its problem document."""
    try:
        return await handler(request)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            log.error("unexpected error", extra={"request": request[REQUEST_ID]} | describe(error))
            problem = Problem("something went wrong here; quote the x-request-id when you report it")
        elif problem.status >= 500:
            log.warning("refused", extra={"request": request[REQUEST_ID], "code": problem.code})
        return web.json_response(
            document(problem, request[REQUEST_ID]),
            status=problem.status,
            headers=problem.headers,
            content_type="application/problem+json",
        )


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nobody passes /v1/ without a key, a link that was made for it, or a session. A header that is there decides."""
    if request.path.startswith("/v1/"):
        services, header = request.app[SERVICES], request.headers.get("Authorization")
        caller = services.keys.caller(header)
        if caller is None and header is None and PARAMETER in request.query:
            async with answered_in_time():
                caller = await link_caller(request, services.queue.signing, services.caller_of)
        if caller is None and header is None and services.sign_in is not None:
            caller = await services.sign_in.caller(request)
        if caller is None:
            raise Unauthorized
        request[CALLER] = caller
    return await handler(request)


@web.middleware
async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts what a tenant with `requestsPerMinute` asks."""
    caller = request.get(CALLER)
    if caller is not None and caller.rules.requests_per_minute is not None:
        verdict = request.app[SERVICES].rates.request(caller.tenant, caller.rules.requests_per_minute)
        request[RATE] = verdict
        if not verdict.allowed:
            raise TooManyRequests(
                f"your limit is {verdict.limit} requests a minute; try again in {verdict.retry_after_s} s",
                code="rate_limited",
                headers={"Retry-After": str(verdict.retry_after_s)},
            )
    return await handler(request)


@web.middleware
async def break_circuit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses at once what needs a Redis that is away."""
    if not request.path.startswith("/v1/"):
        return await handler(request)
    services = request.app[SERVICES]
    with services.guarded("redis", QueueUnavailable):
        return await handler(request)


MIDDLEWARES: Final[tuple[Middleware, ...]] = (observe, answer_problems, authenticate, limit_rate, break_circuit)
