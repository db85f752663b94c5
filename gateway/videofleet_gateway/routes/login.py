"""`/login`: to the identity provider and back. A browser gets refusals as a small page, everybody else as a problem.

Wherever it ends, the browser goes to `/` of this host and nowhere else: no address is taken from the request.
"""

import html
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from typing import Final

from aiohttp import web

from videofleet_gateway.login.cookies import Purpose
from videofleet_gateway.login.provider import ProviderAway
from videofleet_gateway.login.sign_in import SignIn
from videofleet_gateway.problems import NotFound, Problem, Unavailable, problem_of
from videofleet_gateway.routes.page import SECURITY
from videofleet_gateway.services import SERVICES

log: Final = logging.getLogger(__name__)

_HEADERS: Final = SECURITY | {"Cache-Control": "no-store"}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · VideoFleet</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/style.css">
</head>
<body>
<main>
  <section class="card door">
    <h1>{title}</h1>
    <p>{detail}</p>
    <p><a class="button primary" href="/">Back to the door</a></p>
  </section>
</main>
</body>
</html>
"""

Handler = Callable[[web.Request], Awaitable[web.Response]]


def _for_browsers(handler: Handler) -> Handler:
    """Somebody who follows a link must not end before a JSON document."""

    @wraps(handler)
    async def wrapped(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Exception as error:
            problem = problem_of(error)
            if problem is None or "text/html" not in request.headers.get("Accept", ""):
                raise
            return _page(problem)

    return wrapped


def _page(problem: Problem) -> web.Response:
    title = "Signing in is not possible now" if problem.status >= 500 else "Not signed in"
    sentence = problem.detail[:1].upper() + problem.detail[1:] + "."
    text = _PAGE.format(title=title, detail=html.escape(sentence))
    return web.Response(
        text=text, status=problem.status, content_type="text/html", headers=_HEADERS | dict(problem.headers)
    )


@_for_browsers
async def begin(request: web.Request) -> web.Response:
    """GET: to the identity provider."""
    sign_in = _sign_in(request)
    with _asking(request):
        url, cookie = await sign_in.begin()
    response = web.Response(status=HTTPStatus.FOUND, headers=_HEADERS | {"Location": url})
    cookie.put(response, "Lax")  # it has to come along when the provider sends the browser back
    return response


@_for_browsers
async def callback(request: web.Request) -> web.Response:
    """GET: back from the identity provider, with a session or with a reason."""
    services, sign_in = request.app[SERVICES], _sign_in(request)
    try:
        with _asking(request):
            session = await sign_in.finish(request)
    except Exception as error:
        problem = problem_of(error)
        services.metrics.sign_ins.labels(problem.code if problem else "internal_error").inc()
        raise
    services.metrics.sign_ins.labels("signed_in").inc()
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers=_HEADERS | {"Location": "/"})
    session.put(response, "Strict")
    sign_in.ended(Purpose.ATTEMPT).put(response, "Lax")
    return response


async def end(request: web.Request) -> web.Response:
    """POST: the session is over in this browser."""
    sign_in = _sign_in(request)
    sign_in.refuse_other_sites(request)
    response = web.Response(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})
    sign_in.ended(Purpose.SESSION).put(response, "Strict")
    return response


async def session(request: web.Request) -> web.Response:
    """GET: whether one can sign in here, by what name, and whether this browser has."""
    sign_in = request.app[SERVICES].sign_in
    caller = await sign_in.caller(request) if sign_in else None
    body = {
        "object": "login",
        "name": sign_in.rules.name if sign_in else None,
        "tenant": caller.tenant if caller else None,
    }
    return web.json_response(body, headers={"Cache-Control": "no-store"})


def _sign_in(request: web.Request) -> SignIn:
    sign_in = request.app[SERVICES].sign_in
    if sign_in is None:
        raise NotFound("nobody signs in here; use an API key")
    return sign_in


@contextmanager
def _asking(request: web.Request) -> Iterator[None]:
    """Something that needs the identity provider. Raises: Unavailable."""
    try:
        with request.app[SERVICES].guarded("oidc", ProviderAway):
            yield
    except ProviderAway as error:
        log.warning("the identity provider is away: %s", error)
        raise Unavailable(
            "the identity provider does not answer; try again in a moment, or use an API key",
            code="identity_provider_unavailable",
            headers={"Retry-After": "5"},
        ) from None
