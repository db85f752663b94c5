"""The aiohttp application: routes, what surrounds them, and the rounds beside them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine

from aiohttp import web

from videofleet_gateway import files, reaper, redis_watch
from videofleet_gateway.batches import feeder
from videofleet_gateway.body import MAX_BODY_BYTES
from videofleet_gateway.middleware import MIDDLEWARES, stamp
from videofleet_gateway.redis_watch import RedisWatch
from videofleet_gateway.rounds import go_round
from videofleet_gateway.routes import (
    batches,
    content,
    dead,
    deletion,
    events,
    feedback,
    intake,
    links,
    login,
    models,
    openapi,
    page,
    usage,
    videos,
)
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
            web.delete("/v1/videos/{id}", deletion.delete),
            web.post("/v1/erase", deletion.erase),
            web.get("/v1/videos/{id}/events", events.events, allow_head=False),
            web.get("/v1/videos/{id}/content", content.content),
            web.post("/v1/videos/{id}/links", links.create),
            web.post("/v1/videos/{id}/feedback", feedback.create),
            web.post("/v1/intake/pause", intake.pause),
            web.post("/v1/intake/resume", intake.resume),
            web.get("/v1/dead", dead.listing),
            web.post("/v1/videos/{id}/replay", dead.replay),
            web.post("/v1/batches", batches.create),
            web.get("/v1/batches", batches.listing),
            web.get("/v1/batches/{id}", batches.retrieve),
            web.post("/v1/batches/{id}/cancel", batches.cancel),
            web.get("/v1/batches/{id}/results", batches.results, allow_head=False),
            web.get("/v1/models", models.listing),
            web.get("/v1/usage", usage.usage),
            web.get("/openapi.json", openapi.openapi),
            web.get("/", page.page),
            web.get("/page/{name}", page.page),
            web.get("/login", login.begin, allow_head=False),
            web.get("/login/callback", login.callback, allow_head=False),
            web.get("/login/session", login.session),
            web.post("/login/end", login.end),
        ]
    )
    app.on_response_prepare.append(stamp)
    app.cleanup_ctx.append(_background)
    return app


async def _background(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    tasks = [asyncio.create_task(work) for work in _rounds(services)]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await services.moderator.close()
    if services.sign_in is not None:
        await services.sign_in.close()
    await services.queue.close()


def _rounds(services: Services) -> list[Coroutine[None, None, None]]:
    """What every replica does beside answering. Doing it twice changes nothing."""
    return [
        go_round(
            "reaping",
            lambda: reaper.reap_once(services.queue, services.metrics),
            pause_s=reaper.PAUSE_S,
            limit_s=reaper.ROUND_S,
        ),
        go_round(
            "watching Redis",
            RedisWatch(services.queue, services.metrics).look,
            pause_s=redis_watch.PAUSE_S,
            limit_s=redis_watch.ROUND_S,
        ),
        go_round("feeding batches", lambda: feeder.feed_once(services), pause_s=feeder.PAUSE_S, limit_s=feeder.ROUND_S),
        go_round("deleting files", services.files.delete_due, pause_s=files.PAUSE_S, limit_s=files.ROUND_S),
        go_round(
            "searching for lost files", services.files.search, pause_s=files.SEARCH_PAUSE_S, limit_s=files.SEARCH_S
        ),
    ]
