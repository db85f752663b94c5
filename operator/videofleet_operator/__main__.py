"""`videofleet-operator`: wires client, queue, watches and loops together and runs until it is told to stop."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from kubernetes.aio.config import ConfigException

from videofleet import logs
from videofleet.queue import JobQueue
from videofleet_operator.cache import CHILD_KINDS, Caches
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.freshness import Freshness
from videofleet_operator.handlers import GeneratorWatch
from videofleet_operator.health import serve_health
from videofleet_operator.installation import ConfigError, Installation, read_installation
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.leadership import LEASE_CALL_S, Leadership
from videofleet_operator.loops import ChildWatch, RedisPoll, Resync, forever
from videofleet_operator.reconcile import Reconciler
from videofleet_operator.workqueue import WorkQueue

_log = logging.getLogger(__name__)


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser(prog="videofleet-operator", description="Runs fleets of text-to-video workers.")
    parser.add_argument("--config", type=Path, required=True, help="operator.yaml of the installation")
    parser.add_argument("--redis-url-file", type=Path, required=True, help="file that holds the URL of Redis")
    parser.add_argument("--port", type=int, default=8082, help="of /healthz, /readyz and /metrics (default 8082)")
    args = parser.parse_args()
    logs.configure()
    try:
        installation = read_installation(args.config)
        url = args.redis_url_file.read_text().strip()
        asyncio.run(run(installation, url, args.port))
    except (ConfigError, ConfigException, OSError) as error:
        _log.error("cannot start: %s", error)
        sys.exit(2)


async def run(installation: Installation, redis_url: str, port: int) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    freshness, caches = Freshness(), Caches()
    fleets = caches["VideoGenerator"]
    async with (
        await KubeClient.connect() as kube,
        await KubeClient.connect(LEASE_CALL_S) as lease_client,
        JobQueue.connect(redis_url, installation.name) as redis,
    ):
        leadership = Leadership(lease_client, *installation.lease, identity=_identity())
        kube.fence = leadership.check
        closer = FleetCloser(redis, installation.namespaces, leadership)
        queue = WorkQueue(Reconciler(kube, redis, installation, caches, closer, leadership).reconcile)
        steps = {
            "resync": Resync(kube, installation.namespaces, fleets, closer, queue, freshness).step,
            "redis": RedisPoll(redis, fleets, closer, queue, leadership).step,
        }
        for namespace in installation.namespaces:
            for kind in CHILD_KINDS:
                watch = ChildWatch(kube, kind, namespace, caches, queue, freshness)
                steps[watch.source] = watch.step
        async with serve_health(freshness, fleets, port):
            runs = [forever(name, step) for name, step in steps.items()]
            runs += [queue.run(), GeneratorWatch(installation.namespaces, queue, fleets, closer).run()]
            runs += [leadership.run(lambda: queue.add_all(key for key, _ in fleets.uids()))]
            try:
                await _until(stop, runs)
            finally:
                await leadership.release()


def _identity() -> str:
    """The pod's name, so that a restarted container leads on at once; elsewhere something nobody else has."""
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


async def _until(stop: asyncio.Event, runs: list[Coroutine[Any, Any, None]]) -> None:
    """Runs all of them until `stop`; one that ends before is a bug and ends the process."""
    waiting = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(run) for run in runs]
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, *tasks):
        task.cancel()
    await asyncio.gather(waiting, *tasks, return_exceptions=True)
    for ended in done:
        ended.result()


if __name__ == "__main__":
    main()
