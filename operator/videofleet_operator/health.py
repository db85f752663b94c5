"""/healthz, /readyz and /metrics.

/healthz fails when the API server was not heard for 180 s (restart us); Redis being down is no reason to restart.
/readyz fails until every source was heard once; a standby is ready.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from videofleet_operator.cache import ObjectCache
from videofleet_operator.fleet_metrics import FLEET_GAUGES
from videofleet_operator.freshness import STALE_AFTER_S, Freshness
from videofleet_operator.metrics import REGISTRY, count_fleets


def health_app(freshness: Freshness, fleets: ObjectCache) -> web.Application:
    """The application with its three routes."""

    async def healthz(_: web.Request) -> web.Response:
        stale = freshness.stale()
        text = f"not heard for {STALE_AFTER_S:.0f} s: {', '.join(stale)}" if stale else "ok"
        return web.Response(text=text, status=503 if stale else 200)

    async def readyz(_: web.Request) -> web.Response:
        is_ready = freshness.is_ready()
        return web.Response(text="ok" if is_ready else "lists are being read", status=200 if is_ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        FLEET_GAUGES.generators = fleets.all()
        count_fleets(FLEET_GAUGES.generators)
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def serve_health(freshness: Freshness, fleets: ObjectCache, port: int) -> AsyncIterator[None]:
    """Serves on BIND_ADDRESS while the block runs."""
    runner = web.AppRunner(health_app(freshness, fleets), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, os.environ.get("BIND_ADDRESS", "0.0.0.0"), port).start()  # noqa: S104 - a pod
        yield
    finally:
        await runner.cleanup()
