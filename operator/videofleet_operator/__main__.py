"""`videofleet-operator`: wires client, queue, loops and kopf together and runs until it is told to stop."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import kopf
from kubernetes.aio.config import ConfigException

from videofleet import logs
from videofleet.queue import JobQueue
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.fleets import KnownFleets
from videofleet_operator.freshness import Freshness
from videofleet_operator.handlers import operator_registry, operator_settings
from videofleet_operator.health import serve_health
from videofleet_operator.installation import ConfigError, Installation, read_installation
from videofleet_operator.kube.client import KubeClient
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
    """Runs until SIGTERM or SIGINT, which kopf listens for."""
    freshness, known = Freshness(), KnownFleets()
    async with await KubeClient.connect() as kube, JobQueue.connect(redis_url, installation.name) as redis:
        closer = FleetCloser(redis, installation.namespaces)
        queue = WorkQueue(Reconciler(kube, redis, installation).reconcile)
        steps = {
            "resync": Resync(kube, installation.namespaces, known, closer, queue, freshness).step,
            "redis": RedisPoll(redis, known, closer, queue).step,
        }
        for namespace in installation.namespaces:
            for kind in ("Deployment", "Pod"):
                watch = ChildWatch(kube, kind, namespace, queue, freshness)
                steps[watch.source] = watch.step
        async with serve_health(freshness, port):
            loops = [asyncio.create_task(forever(name, step), name=name) for name, step in steps.items()]
            loops.append(asyncio.create_task(queue.run(), name="workqueue"))
            kopf_task = asyncio.create_task(
                kopf.operator(
                    registry=operator_registry(queue, known, closer),
                    settings=operator_settings(),
                    namespaces=installation.namespaces,
                    standalone=True,
                ),
                name="kopf",
            )
            await _first_to_end(kopf_task, loops)


async def _first_to_end(kopf_task: asyncio.Task[None], loops: list[asyncio.Task[None]]) -> None:
    """Waits for kopf, which ends at a signal; a loop that ends before it is a bug and ends the process."""
    await asyncio.wait([kopf_task, *loops], return_when=asyncio.FIRST_COMPLETED)
    ended = [task for task in (kopf_task, *loops) if task.done()]
    for task in (kopf_task, *loops):
        task.cancel()
    await asyncio.gather(kopf_task, *loops, return_exceptions=True)
    for task in ended:
        task.result()


if __name__ == "__main__":
    main()
