"""The `videofleet-gateway` program: listens whether Redis answers or not, and leaves without dropping a request.

`videofleet-gateway deliver` is another process of the same image: it sends webhooks.

Exit codes: 0 after SIGTERM or SIGINT, 1 when it cannot start.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Final

from aiohttp import web

from videofleet import logs
from videofleet.queue import JobQueue
from videofleet.store import StoreError, end_process
from videofleet_gateway.app import build_app
from videofleet_gateway.auth import Keyring, KeysFileError
from videofleet_gateway.directory import FleetDirectory
from videofleet_gateway.health import health_app
from videofleet_gateway.login.rules import OidcFileError
from videofleet_gateway.login.sign_in import SignIn
from videofleet_gateway.prompts import distribution
from videofleet_gateway.server import Runner
from videofleet_gateway.services import Services
from videofleet_gateway.settings import Settings, SettingsError, read_settings
from videofleet_gateway.trouble import TextlessErrors
from videofleet_gateway.webhooks.program import deliver, read_deliver_settings
from videofleet_gateway.webhooks.settings_file import WebhookRules, WebhooksFileError

log: Final = logging.getLogger("videofleet.gateway")

_IN_FLIGHT_S: Final = (
    12.0  # for requests that run at SIGTERM; aiohttp waits twice as long, and 30 s are the usual grace
)
_IDLE_S: Final = 75.0  # longer than the usual load balancer's 60 s, so that it closes first


def main() -> None:
    """Runs the gateway, or with `deliver` the deliverer of webhooks, until SIGTERM."""
    logs.configure()
    try:
        work = _delivering(sys.argv[2:]) if sys.argv[1:2] == ["deliver"] else _serving(sys.argv[1:])
    except (SettingsError, KeysFileError, WebhooksFileError, OidcFileError, StoreError) as error:
        log.error("cannot start: %s", error)
        sys.exit(1)
    asyncio.run(work)
    end_process(0)


def _serving(arguments: Sequence[str]) -> Coroutine[None, None, None]:
    settings = read_settings(arguments)
    return serve(settings, _services(settings))


def _delivering(arguments: Sequence[str]) -> Coroutine[None, None, None]:
    settings = read_deliver_settings(arguments)
    return deliver(settings, WebhookRules(settings.webhooks_file))


def _services(settings: Settings) -> Services:
    queue = JobQueue.connect(settings.redis_url, settings.installation, settings.durability)
    keys, webhooks = Keyring(settings.keys_file), WebhookRules(settings.webhooks_file)
    distribution.prepare()
    return Services(
        queue=queue,
        fleets=FleetDirectory(queue),
        keys=keys,
        stores=settings.stores,
        sign_in=SignIn(settings.oidc_file, queue.signing, keys) if settings.oidc_file else None,
        webhooks=webhooks,
        hook=settings.hook,
    )


async def serve(settings: Settings, services: Services) -> None:
    """Listens; at SIGTERM turns unready, serves on for the drain delay, finishes what runs, returns."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    runner = Runner(
        build_app(services),
        access_log=None,  # ours says less about the client
        auto_decompress=False,
        keepalive_timeout=_IDLE_S,
        logger=_http_logger(),
        shutdown_timeout=_IN_FLIGHT_S,
    )
    await runner.setup()
    probes = Runner(health_app(services), access_log=None, logger=_http_logger())
    await probes.setup()
    gc.freeze()  # what is there now stays: looking through it would hold up requests for tens of milliseconds
    await web.TCPSite(probes, settings.bind_address, settings.health_port).start()
    await web.TCPSite(runner, settings.bind_address, settings.port).start()
    log.info(
        "listening",
        extra={"address": settings.bind_address, "port": settings.port, "health_port": settings.health_port},
    )
    await stop.wait()
    services.draining = True
    log.info("draining")
    await asyncio.sleep(settings.drain_delay_s)
    await runner.cleanup()
    await probes.cleanup()  # last: a liveness probe that failed would kill what still runs
    log.info("stopped")


def _http_logger() -> logging.Logger:
    logger = logging.getLogger("videofleet.gateway.http")
    logger.addFilter(TextlessErrors())
    return logger


if __name__ == "__main__":
    main()
