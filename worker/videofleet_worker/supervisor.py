"""The worker's life: check, load, warm, serve, drain. Composition root of the supervisor, which never imports torch.

A fault ends it with exit code 1 and a reason; SIGTERM with 0. Compute may die as often as it likes while serving: it is
started and warmed again, and the worker is not ready meanwhile. A death during that start is a fault.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import NoReturn

from videofleet import logs
from videofleet.beacons import WorkerState
from videofleet.queue import JobQueue
from videofleet.store import ObjectStore, end_process
from videofleet_worker import health
from videofleet_worker.attempts import Attempts
from videofleet_worker.beacon import shining
from videofleet_worker.claims import next_claims, waiting_s
from videofleet_worker.delivery import Delivery
from videofleet_worker.drain import Drain
from videofleet_worker.elsewhere import Elsewhere
from videofleet_worker.engine import Engine
from videofleet_worker.faults import Fault, report
from videofleet_worker.lease import HeldJob, StopReason
from videofleet_worker.memory_plan import ModelSizes, largest, plan_memory
from videofleet_worker.metrics import Metrics
from videofleet_worker.preparing import finishing, prepared
from videofleet_worker.publishing import Publishing
from videofleet_worker.settings import Settings
from videofleet_worker.starting import encode_warmup, started
from videofleet_worker.status import Status
from videofleet_worker.tasks import unless
from videofleet_worker.weights.cache import in_use

log = logging.getLogger(__name__)


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a worker until it drains or faults, and ends the process."""
    settings = Settings.parse(argv)
    logs.configure()
    end_process(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    async with JobQueue.connect(settings.redis_url, settings.installation, settings.durability) as queue:
        worker = Worker(settings, queue)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.begin_drain)
        return await worker.run()


class Worker:
    """One worker over one queue. `run` returns its exit code."""

    def __init__(self, settings: Settings, queue: JobQueue, engine: Engine | None = None) -> None:
        self._settings = settings
        self._queue = queue
        self.status = Status(settings.worker, settings.spec.revision)
        self.metrics = Metrics()
        self.drain = Drain(settings.grace_period_s)
        self.engine = engine or Engine(settings.spec, settings.model, settings.scratch)
        self.port = 0  # of the HTTP server, once it runs
        self._attempts: Attempts | None = None

    async def run(self) -> int:
        """Lives until drained (0) or at fault (1)."""
        log.info("worker starts", extra={"revision": self._settings.spec.revision, "worker": self._settings.worker})
        address = health.serving(
            self.status,
            self.metrics,
            self._is_stuck,
            address=self._settings.bind_address,
            port=self._settings.port,
        )
        async with address as self.port, shining(self._queue, self._settings.fleet_uid, self.status):
            try:
                with in_use(self._settings.model):
                    await self._live()
            except Fault as fault:
                self.status.fail(fault)
                report(fault, self._settings.termination_log)
            finally:
                await self.engine.stop()
        return 1 if self.status.fault else 0

    @property
    def held(self) -> list[HeldJob]:
        """The jobs in this worker's hands."""
        return self._attempts.held if self._attempts else []

    def begin_drain(self) -> None:
        """SIGTERM: claim nothing more, turn unready, and give back what would not be done in time."""
        if self.drain.requested.is_set():
            return
        self.drain.begin()
        self.status.enter(WorkerState.DRAINING, f"at most {self.drain.left_s:.0f} s left")
        log.info("draining", extra={"seconds": round(self.drain.left_s)})
        for held in self.held:
            timing = self.status.warmed.get(held.claim.tier.name)
            if not self.drain.has_time_for(held.progress, timing, len(held.batch)):
                held.stop(StopReason.DRAINED)
        loop = asyncio.get_running_loop()
        slowest_step_s = max((tier.seconds_per_step for tier in self.status.warmed.values()), default=0.0)
        loop.call_later(max(0.0, self.drain.left_s - slowest_step_s), self._hand_over)
        loop.call_later(self.drain.left_s, self._time_is_up)

    async def _live(self) -> None:
        store = await unless(self.drain.requested, prepared(self._settings, self._queue, self.status))
        if store is None:
            return
        self._attempts = self._attempts_in(store)
        try:
            while not self.drain.requested.is_set():
                if await unless(self.drain.requested, self._warm()):
                    await self._serve(self._attempts)
        finally:
            # Endings that Redis has not taken when work is over get half of what is left.
            wait_s = self.drain.left_s if self.drain.requested.is_set() else 0.0
            await self._attempts.all_ended(wait_s + self.drain.reserve_s / 2)

    def _attempts_in(self, store: ObjectStore) -> Attempts:
        """Raises: Fault."""
        settings, spec, queue = self._settings, self._settings.spec, self._queue
        _, need = largest(plan_memory(ModelSizes.of(settings.model), spec))
        self.metrics.device_memory.labels("predicted").set(need.peak_bytes)
        publishing = Publishing(store, self.metrics, finishing(settings))
        elsewhere = Elsewhere(queue, publishing, self.metrics, settings.fleet_uid, spec.revision)
        delivery = Delivery(queue, self.metrics, publishing, elsewhere, peak_bytes=lambda: self.engine.peak_bytes)
        return Attempts(queue, self.engine, delivery, elsewhere, self.status, self.metrics, store, settings)

    async def _warm(self) -> bool:
        """Until every tier is proven. Raises: Fault."""
        again = " again, because it died" if self.status.warmed else ""
        self.status.enter(WorkerState.LOADING, f"starting compute{again}")
        async with self._attempts.turns.free if self._attempts else contextlib.nullcontext():
            clips = await started(self.engine, self._settings.spec.dtype_fallback, self.status)
        for clip in clips:
            self.status.warmed[clip.tier] = await asyncio.to_thread(encode_warmup, clip)
        if self.engine.peak_bytes is not None:
            self.metrics.device_memory.labels("measured").set(self.engine.peak_bytes)
        self.status.enter(WorkerState.READY, f"{len(clips)} tiers warm, attention {self.engine.attention}")
        log.info("ready", extra={"pids": self.engine.pids})
        return True

    async def _serve(self, attempts: Attempts) -> None:
        """Until draining, or until compute dies."""
        died = self.engine.died
        while not (self.drain.requested.is_set() or died.is_set()):
            await attempts.has_room(self.drain.requested)
            claims = await next_claims(
                self._queue,
                fleet_uid=self._settings.fleet_uid,
                worker=self._settings.worker,
                revision=self._settings.spec.revision,
                batches={tier.volume: self.status.batch_of(tier) for tier in self._settings.spec.tiers},
                wait_s=lambda tier: waiting_s(tier, self.status.warmed.get(tier.name)),
                leave_off=self.drain.requested,
                died=died.is_set,
                marked=lambda is_marked: self.status.mark(is_marked=is_marked and not attempts.held),
            )
            if claims:
                await attempts.compute(claims)
        if died.is_set() and not self.drain.requested.is_set():
            self.metrics.compute_restarts.inc()
            log.error("compute died; it is started and warmed again")

    def _hand_over(self) -> None:
        """A step before time is up: a job that took longer than its tier does leaves a checkpoint."""
        for held in self.held:
            if held.progress.stage == "denoising":
                held.stop(StopReason.DRAINED)

    def _time_is_up(self) -> None:
        """Near the end of the grace period: whatever is still held goes back, and compute ends soon after."""
        for held in self.held:
            held.stop(StopReason.DRAINED)
        asyncio.get_running_loop().call_later(self.drain.reserve_s / 4, self._kill)

    def _kill(self) -> None:
        self._killing = asyncio.ensure_future(self.engine.kill())

    def _is_stuck(self) -> bool:
        """Compute has a job, is silent for far too long, and killing it did not help."""
        return bool(self.status.jobs) and self.engine.silent_s > 2 * self.engine.step_timeout_s
