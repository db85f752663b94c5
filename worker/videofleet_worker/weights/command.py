"""`videofleet-worker fetch`: brings one model to a volume, and says on the way how far it is.

Runs as the init container of worker pods, or once as a Job. Progress goes to the log and, where a Redis is given, into
the pod's beacon, so that the fleet's conditions show it; a fault also goes into the termination message. Exit code 0:
the model is there and proven; 1: a fault. A fetch that was killed goes on where it was when it runs again.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from videofleet import logs
from videofleet.architectures import Architecture
from videofleet.beacons import WorkerState
from videofleet.queue import JobQueue
from videofleet.store import end_process
from videofleet.weights import folder_name
from videofleet_worker.beacon import shining
from videofleet_worker.faults import Fault, report
from videofleet_worker.status import Status
from videofleet_worker.weights.bucket import BucketSource
from videofleet_worker.weights.cache import Entry
from videofleet_worker.weights.fetch import Fetch
from videofleet_worker.weights.source import Source

log = logging.getLogger(__name__)

LOG_EVERY_S: Final = 10.0


@dataclass(frozen=True)
class FetchSettings:
    """What one fetch is told."""

    source: str
    revision: str
    secret: Path | None
    cache: Path
    name: str
    max_bytes: int | None
    architecture: Architecture
    worker_revision: str
    redis_url_file: Path | None
    installation: str
    fleet_uid: str
    worker: str
    termination_log: Path

    def open_source(self) -> Source:
        """Raises: Fault."""
        if self.source.startswith("hf://"):
            from videofleet_worker.weights.hub import HubSource  # half a second that other sources need not spend

            return HubSource.from_url(self.source, self.revision, self.secret)
        return BucketSource.from_url(self.source, self.secret)


def main(argv: Sequence[str]) -> NoReturn:
    """Fetches, and ends the process."""
    settings = _parse(argv)
    logs.configure()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every address
    end_process(asyncio.run(_run(settings)))


async def _run(settings: FetchSettings) -> int:
    status = Status(settings.worker, settings.worker_revision)
    async with contextlib.AsyncExitStack() as stack:
        queue = await _queue(settings, stack)
        if queue:
            await stack.enter_async_context(shining(queue, settings.fleet_uid, status))
        try:
            await Fetch(
                Entry(settings.cache / settings.name),
                settings.open_source,
                settings.architecture,
                _Teller(status),
                max_bytes=settings.max_bytes,
            ).run()
        except Fault as fault:
            status.fail(fault)
            report(fault, settings.termination_log)
    return 1 if status.fault else 0


async def _queue(settings: FetchSettings, stack: contextlib.AsyncExitStack) -> JobQueue | None:
    if settings.redis_url_file is None:
        return None
    url = settings.redis_url_file.read_text().strip()
    return await stack.enter_async_context(JobQueue.connect(url, settings.installation))


class _Teller:
    """Puts each word into the beacon, and now and then into the log."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._logged_at = -LOG_EVERY_S

    def __call__(self, what: str, hindrance: Fault | None = None) -> None:
        self._status.enter(WorkerState.LOADING, what, hindrance)
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.info("fetch", extra={"detail": f"{what}: {hindrance.message}" if hindrance else what})


def _parse(argv: Sequence[str]) -> FetchSettings:
    parser = argparse.ArgumentParser(
        prog="videofleet-worker fetch", description="Brings a model's safetensors to a volume, checked and sealed."
    )
    parser.add_argument("--source", required=True, help="hf://ORG/NAME, s3://BUCKET/PATH or file:///PATH")
    parser.add_argument("--revision", default="", help="commit of a hf:// source, 40 hex digits")
    parser.add_argument("--secret", type=Path, help="folder with `token` (hf://) or obstore's options (s3://)")
    parser.add_argument("--cache", type=Path, required=True, help="folder that holds models, one folder each")
    parser.add_argument("--name", help="of the model's folder there; made from source and revision unless given")
    parser.add_argument("--architecture", type=Architecture, choices=list(Architecture), required=True)
    parser.add_argument("--max-bytes", type=int, help="of the whole cache; what was used least recently is evicted")
    parser.add_argument("--worker-revision", default="", help="revision whose beacon this is")
    parser.add_argument("--redis-url-file", type=Path, help="file that holds the URL of Redis; none: no beacon")
    parser.add_argument("--installation", default="", help="prefix of all Redis keys")
    parser.add_argument("--fleet-uid", default="", help="metadata.uid of the VideoGenerator")
    parser.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"))
    arguments = vars(parser.parse_args(argv))
    if arguments["source"].startswith("hf://") and len(arguments["revision"]) != 40:
        parser.error("a hf:// source needs --revision, the 40 hex digits of a commit")
    arguments["name"] = arguments["name"] or folder_name(arguments["source"], arguments["revision"])
    return FetchSettings(**arguments, worker=os.environ.get("POD_NAME") or f"fetch-{os.getpid()}")
