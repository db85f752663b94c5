"""`videofleet-gateway deliver`: the process that sends webhooks, apart from the one that takes requests.

Exit codes: 0 after SIGTERM or SIGINT, 1 when it cannot start.
"""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from videofleet.queue import Durability, JobQueue, QueueError
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.settings import REDIS_URL, secret_text
from videofleet_gateway.webhooks.deliverer import Deliverer
from videofleet_gateway.webhooks.metrics import Metrics
from videofleet_gateway.webhooks.sending import Sender
from videofleet_gateway.webhooks.settings_file import WebhookRules

log: Final = logging.getLogger("videofleet.deliver")


@dataclass(frozen=True)
class DeliverSettings:
    """Everything the deliverer is told."""

    installation: str
    redis_url: str = field(repr=False)  # holds the password
    webhooks_file: Path
    port: int
    bind_address: str


def read_deliver_settings(arguments: Sequence[str]) -> DeliverSettings:
    """Settings from the command line. Raises: SettingsError; exits on wrong usage."""
    parser = argparse.ArgumentParser("videofleet-gateway deliver", description="Sends VideoFleet's webhooks.")
    parser.add_argument("--installation", required=True, help="name of the installation, as in the operator's config")
    parser.add_argument("--redis-url-file", required=True, type=Path, help="file with a redis:// or rediss:// URL")
    parser.add_argument("--webhooks-file", required=True, type=Path, help="JSON file with the signing secrets")
    parser.add_argument("--port", type=int, default=8080, help="of /healthz, /readyz and /metrics")
    given = parser.parse_args(arguments)
    return DeliverSettings(
        installation=given.installation,
        redis_url=secret_text("--redis-url-file", given.redis_url_file, REDIS_URL),
        webhooks_file=given.webhooks_file,
        port=given.port,
        bind_address=os.environ.get("BIND_ADDRESS", "0.0.0.0"),  # noqa: S104 - a pod listens on its own address
    )


async def deliver(settings: DeliverSettings, rules: WebhookRules) -> None:
    """Delivers until SIGTERM, and finishes what is on its way."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    metrics = Metrics()
    # Losing a settlement means a repeat, which receivers know by its id: no need to wait for a replica.
    async with JobQueue.connect(settings.redis_url, settings.installation, Durability.AOF) as queue:
        runner = web.AppRunner(_probes(queue, metrics), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, settings.bind_address, settings.port).start()
        log.info("delivering", extra={"address": settings.bind_address, "port": settings.port})
        await Deliverer(queue, rules, metrics, Sender()).run(stop)
        await runner.cleanup()
    log.info("stopped")


def _probes(queue: JobQueue, metrics: Metrics) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        try:
            async with answered_in_time():
                await queue.fleets()
        except QueueError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="ok\n")

    async def told(_: web.Request) -> web.Response:
        try:
            async with answered_in_time():
                depths = [await queue.outbox.depth(fleet_uid) for fleet_uid in await queue.fleets()]
        except QueueError:
            pass  # the figures stay as they were; readiness tells of the outage
        else:
            metrics.outbox.set(sum(waiting for waiting, _ in depths))
            metrics.overdue_seconds.set(max((overdue_s for _, overdue_s in depths), default=0.0))
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", told)])
    return app
