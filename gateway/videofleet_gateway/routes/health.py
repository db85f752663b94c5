"""`/healthz`, `/readyz` and `/metrics`, without a key."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from videofleet.queue import QueueError
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.services import SERVICES


async def healthz(_: web.Request) -> web.Response:
    """200 while the event loop turns."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """200 when Redis answers and keeps what it acknowledges, and nobody asked us to stop."""
    services = request.app[SERVICES]
    if services.draining:
        return web.Response(status=503, text="draining\n")
    try:
        async with answered_in_time():
            await services.queue.check_durability()
    except QueueError as error:
        return web.Response(status=503, text=f"{error}\n")
    return web.Response(text="ok\n")


async def metrics(request: web.Request) -> web.Response:
    """The Prometheus text format."""
    body = generate_latest(request.app[SERVICES].metrics.registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
