"""HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics.

Healthy means that restarting the container would not help; ready means that every tier is warm. A busy worker is ready.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from videofleet_worker.metrics import Metrics
from videofleet_worker.status import Status


@asynccontextmanager
async def serving(
    status: Status, metrics: Metrics, is_stuck: Callable[[], bool], *, address: str, port: int
) -> AsyncIterator[int]:
    """Serves while inside; yields the port, which matters when 0 was asked for."""

    async def healthz(_: web.Request) -> web.Response:
        if is_stuck():
            return web.Response(status=503, text="compute hangs and could not be killed\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        text = f"{status.state}: {status.detail}\n"
        return web.Response(status=200 if status.is_ready else 503, text=text)

    async def prometheus(_: web.Request) -> web.Response:
        metrics.set_state(status.state)
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", prometheus)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
