"""`videofleet-worker decode`: a decoder of one revision. Takes latents that workers have denoised, stores their videos.

It has no lease on a job and ends none: the worker that denoised does. Invariants: what it stores lies in a folder of
its own, so a decoder that has lost an order overwrites nothing; whatever becomes of it, the order goes to the next.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Final, NoReturn

from videofleet import logs
from videofleet.beacons import WorkerState
from videofleet.queue import JobQueue, QueueError, TakenOrder
from videofleet.store import ObjectStore, end_process
from videofleet.workerspec import Offload, Parallelism, WorkerSpec
from videofleet_worker import health, protocol
from videofleet_worker.engine import Engine
from videofleet_worker.faults import Fault, report
from videofleet_worker.metrics import Metrics
from videofleet_worker.orders import Order
from videofleet_worker.preparing import finishing, prepared
from videofleet_worker.publishing import Publishing
from videofleet_worker.settings import Settings
from videofleet_worker.starting import encode_warmup
from videofleet_worker.status import Status
from videofleet_worker.tasks import end, unless
from videofleet_worker.weights.cache import in_use

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
MOST_ORDERS: Final = 2  # one being decoded, one being encoded and stored


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a decoder until it is told to go or faults, and ends the process."""
    settings = Settings.parse(argv)
    logs.configure()
    end_process(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    async with JobQueue.connect(settings.redis_url, settings.installation, settings.durability) as queue:
        decoder = Decoder(settings, queue)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, decoder.leaving.set)
        return await decoder.run()


class Decoder:
    """One decoder over one queue. `run` returns its exit code; `leaving` ends it."""

    def __init__(self, settings: Settings, queue: JobQueue) -> None:
        self._settings = settings
        self._queue = queue
        self.status = Status(settings.worker, settings.spec.revision)
        self.metrics = Metrics()
        self.engine = Engine(_spec_of(settings.spec), settings.model, settings.scratch, decodes=True)
        self.leaving = asyncio.Event()
        self.port = 0  # of the HTTP server, once it runs
        self._computing = asyncio.Lock()
        self._orders: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Lives until told to go (0) or at fault (1)."""
        log.info("decoder starts", extra={"revision": self._settings.spec.revision, "decoder": self._settings.worker})
        address, port = self._settings.bind_address, self._settings.port
        async with health.serving(self.status, self.metrics, self._is_stuck, address=address, port=port) as self.port:
            try:
                with in_use(self._settings.model):
                    await self._live()
            except Fault as fault:
                self.status.fail(fault)
                report(fault, self._settings.termination_log)
            finally:
                await end(*self._orders)
                await self.engine.stop()
        return 1 if self.status.fault else 0

    async def _live(self) -> None:
        store = await unless(self.leaving, prepared(self._settings, self._queue, self.status))
        if store is None:
            return
        publishing = Publishing(store, self.metrics, finishing(self._settings))
        while not self.leaving.is_set():
            if await unless(self.leaving, self._warm()):
                await self._serve(store, publishing)

    async def _warm(self) -> bool:
        """Until every tier is proven. Raises: Fault."""
        self.status.enter(WorkerState.LOADING, "starting compute")
        clips: list[protocol.TierWarmed] = []
        async with self._computing:
            await self.engine.start(self.status.enter, clips.append)
        for clip in clips:
            self.status.warmed[clip.tier] = await asyncio.to_thread(encode_warmup, clip)
        self.status.enter(WorkerState.READY, f"{len(clips)} tiers warm")
        log.info("ready", extra={"pids": self.engine.pids})
        return True

    async def _serve(self, store: ObjectStore, publishing: Publishing) -> None:
        """Until leaving, or until compute dies."""
        while not (self.leaving.is_set() or self.engine.died.is_set()):
            taken = await self._taken() if len(self._orders) < MOST_ORDERS else None
            if taken is None:
                await self._pause()
                continue
            order = Order(taken, self._settings, self._queue, self.engine, self._computing, self.metrics)
            task = asyncio.create_task(order.run(store, publishing))
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)
        if not self.leaving.is_set():
            self.metrics.compute_restarts.inc()
            log.error("compute died; it is started and warmed again")

    async def _taken(self) -> TakenOrder | None:
        try:
            return await self._queue.decodes.take(self._settings.fleet_uid, self._settings.spec.revision)
        except QueueError as error:
            log.warning("queue does not answer; the decoder waits for it", extra={"error": str(error)})
            return None

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self.leaving.wait()

    def _is_stuck(self) -> bool:
        """Compute is silent over a clip for far too long, and killing it did not help."""
        return self._computing.locked() and self.engine.silent_s > 2 * self.engine.step_timeout_s


def _spec_of(spec: WorkerSpec) -> WorkerSpec:
    """One process on one device, whatever the workers are."""
    gpus = spec.decode.gpus if spec.decode else 0
    return spec.model_copy(update={"gpus": gpus, "parallelism": Parallelism(), "offload": Offload.NONE})
