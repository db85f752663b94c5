"""`/openapi.json`: what this very gateway answers to, without a key."""

from aiohttp import web

from videofleet_gateway.openapi.document import document
from videofleet_gateway.validation import ACCEPTED


async def openapi(request: web.Request) -> web.Response:
    """GET."""
    return web.json_response(document(_routes(request.app), ACCEPTED))


def _routes(app: web.Application) -> list[tuple[str, str]]:
    return [
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]
