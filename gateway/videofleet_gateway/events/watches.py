"""The pollers: one for each job that somebody listens to, however many listen.

A watch lives while it has listeners. It keeps only the latest snapshot, so a slow listener costs no memory and skips
what it was too slow for. An outage of Redis is silence; the watch goes on when Redis does.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from videofleet.jobs import Job, JobState
from videofleet.queue import JobNotFound, JobQueue, QueueUnavailable
from videofleet_gateway.directory import FleetDirectory, answered_in_time
from videofleet_gateway.events.eta import eta_s
from videofleet_gateway.events.snapshot import Snapshot
from videofleet_gateway.figures import FleetFigures
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.trouble import describe

log: Final = logging.getLogger(__name__)

PERIOD_S: Final = 0.25


@dataclass
class Watch:
    """One job as its listeners see it. `over` means that no further snapshot will come."""

    job_id: str
    latest: Snapshot
    over: bool = False
    listeners: int = 0
    looked_at: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def news(self, limit_s: float) -> None:
        """Returns at the next change, or after `limit_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), limit_s)

    def tell(self, snapshot: Snapshot) -> None:
        """Takes in what the poller saw; wakes the listeners if it is new."""
        changed = snapshot.event_id != self.latest.event_id
        self.latest, self.over = snapshot, snapshot.is_last
        self.looked_at.set()
        if changed or self.over:
            self._wake()

    def end(self) -> None:
        """No poller looks any more."""
        self.over = True
        self.looked_at.set()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Watches:
    """All watched jobs of this replica."""

    def __init__(self, queue: JobQueue, fleets: FleetDirectory, figures: FleetFigures, metrics: Metrics) -> None:
        self._queue = queue
        self._fleets = fleets
        self._metrics = metrics
        self._watches: dict[str, tuple[Watch, asyncio.Task[None]]] = {}
        self._figures = figures

    @asynccontextmanager
    async def on(self, job: Job) -> AsyncIterator[Watch]:
        """The job's watch, shared with everybody who listens to it at this time."""
        if job.id not in self._watches:
            watch = Watch(job.id, Snapshot(job))
            self._watches[job.id] = watch, asyncio.create_task(self._poll(watch))
        watch, poller = self._watches[job.id]
        watch.listeners += 1
        self._metrics.event_listeners.inc()
        try:
            await watch.looked_at.wait()  # a crowd that comes at once waits for one look
            yield watch
        finally:
            self._metrics.event_listeners.dec()
            watch.listeners -= 1
            if not watch.listeners:
                del self._watches[job.id]
                poller.cancel()

    async def _poll(self, watch: Watch) -> None:
        self._metrics.event_pollers.inc()
        try:
            while not watch.over:
                with suppress(QueueUnavailable):
                    async with answered_in_time():
                        watch.tell(await self._look(watch.job_id))
                await asyncio.sleep(0 if watch.over else PERIOD_S)
        except Exception as error:  # listeners must not wait for a poller that died: they reconnect
            log.error("watching a job failed", extra={"job": watch.job_id} | describe(error))
        finally:
            watch.end()
            self._metrics.event_pollers.dec()

    async def _look(self, job_id: str) -> Snapshot:
        try:
            job = await self._queue.get(job_id)
        except JobNotFound:
            return Snapshot(None)
        return await self._snapshot(job)

    async def _snapshot(self, job: Job) -> Snapshot:
        if job.state.is_terminal:
            return Snapshot(job, expires_at_ms=await self._fleets.expires_at_ms(job))
        ahead = await self._queue.ahead(job.id) if job.state is JobState.QUEUED else None
        figures = await self._figures.of(job.fleet_uid)
        tiers = [
            tier for each in await self._fleets.policies() if each.fleet_uid == job.fleet_uid for tier in each.tiers
        ]
        return Snapshot(job, ahead, eta_s(job, ahead, figures.stats, figures.beacons, tiers))
