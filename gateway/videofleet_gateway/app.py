"""The aiohttp application: routes, what surrounds them, and the reaper beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from videofleet_gateway.body import MAX_BODY_BYTES
from videofleet_gateway.middleware import MIDDLEWARES, stamp
from videofleet_gateway.reaper import reap_forever
from videofleet_gateway.routes import content, events, health, models, openapi, page, videos
from videofleet_gateway.services import SERVICES, Services


def build_app(services: Services) -> web.Application:
    """The application over these services; it closes the queue when it ends."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app.router.add_routes(
        [
            web.post("/v1/videos", videos.create),
            web.get("/v1/videos", videos.listing),
            web.get("/v1/videos/{id}", videos.retrieve),
            web.delete("/v1/videos/{id}", videos.delete),
            web.get("/v1/videos/{id}/events", events.events, allow_head=False),
            web.get("/v1/videos/{id}/content", content.content),
            web.get("/v1/models", models.listing),
            web.get("/openapi.json", openapi.openapi),
            web.get("/", page.page),
            web.get("/page/{name}", page.page),
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.get("/metrics", health.metrics),
        ]
    )
    app.on_response_prepare.append(stamp)
    app.cleanup_ctx.append(_background)
    return app


async def _background(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    reaper = asyncio.create_task(reap_forever(services.queue, services.metrics))
    yield
    reaper.cancel()
    with suppress(asyncio.CancelledError):
        await reaper
    await services.queue.close()
