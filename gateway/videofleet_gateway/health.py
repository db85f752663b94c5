"""`/healthz`, `/readyz` and `/metrics`, on a port of their own: who may call the API need not see them.

Nothing of the API stands before them: no key, no rate, no breaker.
"""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from videofleet.queue import QueueError
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.services import Services


def health_app(services: Services) -> web.Application:
    """The application with its three routes."""

    async def healthz(_: web.Request) -> web.Response:
        """200 while the event loop turns."""
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        """200 when Redis answers and keeps what it acknowledges, and nobody asked us to stop."""
        if services.draining:
            return web.Response(status=503, text="draining\n")
        try:
            async with answered_in_time():
                await services.queue.check_durability()
        except QueueError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        """The Prometheus text format."""
        body = generate_latest(services.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
