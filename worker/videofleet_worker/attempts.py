"""The attempts in this worker's hands: one batch in compute, those before it on their way into the store.

Invariant: every attempt ends by exactly one of succeed, fail, cancelled, give_back, or by silence when the lease was
lost. An attempt that breaks never takes the worker with it.
"""

import asyncio
import logging
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from videofleet.jobs import Claim, ErrorCode, JobState, VideoRequest
from videofleet.queue import JobQueue
from videofleet.store import ObjectStore
from videofleet_worker import protocol
from videofleet_worker.checkpoints import Checkpoints
from videofleet_worker.delivery import Delivery
from videofleet_worker.elsewhere import Elsewhere, NobodyDecodes
from videofleet_worker.engine import ComputeDied, Engine
from videofleet_worker.gate import Flaw, Rejected
from videofleet_worker.lease import HeldJob, StopReason
from videofleet_worker.metrics import Metrics
from videofleet_worker.repair import next_request
from videofleet_worker.settings import Settings
from videofleet_worker.status import Status
from videofleet_worker.tasks import end
from videofleet_worker.turns import Outcome, Round, Turns

log = logging.getLogger(__name__)

MOST_BATCHES: Final = 2  # in hand; each job keeps a clip in scratch, so with more waiting, compute waits too


class Attempts:
    """Runs claims to their end."""

    def __init__(
        self,
        queue: JobQueue,
        engine: Engine,
        delivery: Delivery,
        elsewhere: Elsewhere,
        status: Status,
        metrics: Metrics,
        store: ObjectStore,
        settings: Settings,
    ) -> None:
        self._queue = queue
        self._engine = engine
        self.turns = Turns(engine, status, metrics)
        self._delivery = delivery
        self._elsewhere = elsewhere
        self._status = status
        self._metrics = metrics
        self._store = store
        self._settings = settings
        self._running: dict[asyncio.Task[None], HeldJob] = {}

    @property
    def held(self) -> list[HeldJob]:
        """Jobs whose leases this worker keeps."""
        return list(self._running.values())

    async def compute(self, claims: Sequence[Claim]) -> None:
        """Begins the attempts of one batch; returns when compute is free again, while encoding and upload go on."""
        batch = [HeldJob(self._queue, claim) for claim in claims]
        together = self.turns.round_of(held.job for held in batch)
        computed = [asyncio.Event() for _ in batch]
        for held, event in zip(batch, computed, strict=True):
            held.batch = batch
            task = asyncio.create_task(self._run(held, event, together))
            self._running[task] = held
            task.add_done_callback(self._ended)
        for event in computed:
            await event.wait()

    async def has_room(self, leave_off: asyncio.Event) -> None:
        """Waits until few enough clips are on their way, or until somebody says to leave off."""
        leaving = asyncio.create_task(leave_off.wait())
        while len({held.batch[0].job for held in self.held}) >= MOST_BATCHES and not leave_off.is_set():
            await asyncio.wait({*self._running, leaving}, return_when=asyncio.FIRST_COMPLETED)
        await end(leaving)

    async def all_ended(self, timeout_s: float) -> None:
        """Waits for the last one; those that take longer are left to their leases."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)
        await end(*self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        held = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease lapses and another worker tries. The message is left out: it could quote a prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("attempt broke", extra={"job": held.job, "error": type(error).__name__, "where": where})

    async def _run(self, held: HeldJob, computed: asyncio.Event, together: Round) -> None:
        log.info("claimed", extra={"job": held.job, "attempt": held.claim.attempt, "batch": len(held.batch)})
        scratch, revision = self._settings.scratch, self._settings.spec.revision
        checkpoints = Checkpoints(self._store, held, self._metrics, revision, scratch)
        async with held:
            try:
                word = await self._made(held, checkpoints, computed, together)
            finally:
                together.leave(held.job)
                computed.set()
                await checkpoints.close()
        self._metrics.jobs.labels(word).inc()
        log.info(word, extra={"job": held.job, "attempt": held.claim.attempt, "seconds": round(held.held_s, 3)})

    async def _made(self, held: HeldJob, checkpoints: Checkpoints, computed: asyncio.Event, turn: Round) -> str:
        """Makes clips until one passes the gate, or nothing is left to try. Returns: the word for the ending."""
        request = held.claim.job.request.model_copy(update={"tier": held.claim.tier})
        flaws: list[Flaw] = []
        hands_over = self._settings.spec.decode is not None and await self._elsewhere.is_there()
        while True:
            outcome = await self._generate(held, request, checkpoints, turn, hands_over=hands_over)
            computed.set()  # a clip that is refused waits for its next turn like a new job
            try:
                return await self._conclude(held, outcome, request, flaws, checkpoints)
            except Rejected as rejected:
                log.warning("clip refused", extra={"job": held.job, "flaw": rejected.flaw, "tier": request.tier.name})
                self._metrics.rejected.labels(request.tier.name, rejected.flaw).inc()
                flaws.append(rejected.flaw)
            except NobodyDecodes as why:  # it goes on from the state after its last step
                log.warning("the clip is decoded here", extra={"job": held.job, "error": str(why)})
                checkpoints.advanced, hands_over = True, False
                held.batch, turn = [held], self.turns.round_of([held.job])
                continue
            await checkpoints.remove()  # whatever went wrong may have begun before it
            again = next_request(request, self._settings.spec.tiers, len(flaws))
            if again is None:
                message = f"clip after clip was {', '.join(flaws)}; another worker may do better"
                return await self._fail(held, ErrorCode.OUTPUT_REJECTED, message, retry=True)
            request, held.batch, turn = again, [held], self.turns.round_of([held.job])

    async def _generate(
        self, held: HeldJob, request: VideoRequest, checkpoints: Checkpoints, turn: Round, *, hands_over: bool
    ) -> Outcome:
        frames = self._settings.scratch / f"{held.job}-{held.claim.attempt}.rgb"
        found = await checkpoints.found()
        work = protocol.Work(
            job=held.job,
            request=request,
            frames_path=str(frames),
            checkpoint_path=str(checkpoints.path),
            checkpoint_every_s=self._settings.checkpoint_every_s,
            resume_path=str(found) if found else None,
            hands_over=hands_over,
        )

        def hear(news: protocol.News) -> None:
            match news:
                case protocol.Progressed(progress=progress):
                    held.report(progress.model_copy(update={"advanced": checkpoints.advanced}))
                case protocol.Resumed():
                    checkpoints.used(news)
                case protocol.Checkpointed(path=path):
                    checkpoints.keep(Path(path))

        generating = asyncio.create_task(turn.made(work, hear))
        stopping = asyncio.create_task(held.stopped.wait())
        try:
            await asyncio.wait({generating, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if held.stopped.is_set() and held.job not in self._status.jobs:  # it still waits for its turn
                await end(generating)
                return protocol.Stopped(job=held.job)
            if held.stopped.is_set():
                self._engine.stop_job(
                    held.job, checkpoint=held.stop_reason is not None and held.stop_reason.is_for_later
                )
            outcome = await generating
            if isinstance(outcome, ComputeDied):
                frames.unlink(missing_ok=True)
            return outcome
        finally:
            await end(stopping)

    async def _conclude(
        self, held: HeldJob, outcome: Outcome, request: VideoRequest, flaws: list[Flaw], checkpoints: Checkpoints
    ) -> str:
        """Ends the attempt. Returns: the word for it. Raises: Rejected, NobodyDecodes."""
        if held.stop_reason is not None:
            if isinstance(outcome, protocol.Generated):
                _discard(outcome.frames)
            return await self._abandon(held, held.stop_reason, checkpoints)
        match outcome:
            case protocol.Generated() | protocol.Denoised():
                self._metrics.seconds_per_step.labels(request.tier.name).observe(outcome.seconds_per_step)
                await checkpoints.all_kept()  # an earlier state must not come to lie over the last one
                with self._metrics.delivering.track_inprogress():
                    return await self._deliver(held, outcome, request, flaws, checkpoints)
            case protocol.Failed(code=ErrorCode.NOT_FINITE):
                raise Rejected(Flaw.NOT_FINITE)
            case protocol.Failed(code=code, message=message, retry=retry):
                await checkpoints.remove()  # whatever went wrong may have begun before it
                return await self._fail(held, code, message, retry=retry)
            case _:
                return await self._survive(held, _death(outcome), checkpoints)

    async def _survive(self, held: HeldJob, message: str, checkpoints: Checkpoints) -> str:
        """Compute is dead. An attempt that got the job further, or may have died of another job, is not counted."""
        await checkpoints.all_kept()
        if not checkpoints.advanced and len(held.batch) == 1:
            return await self._fail(held, ErrorCode.GENERATION_FAILED, message, retry=True)
        log.warning("compute died; the attempt is not counted", extra={"job": held.job, "error": message})
        is_fault = held.batch[0] is held  # one death is one fault of the revision
        return _word(await held.settle(lambda: self._queue.give_back(held.claim, is_fault=is_fault)))

    async def _deliver(
        self,
        held: HeldJob,
        clip: protocol.Generated | protocol.Denoised,
        request: VideoRequest,
        flaws: list[Flaw],
        checkpoints: Checkpoints,
    ) -> str:
        delivering = asyncio.create_task(self._delivery.deliver(held, clip, request, flaws))
        stopping = asyncio.create_task(held.stopped.wait())
        try:
            await asyncio.wait({delivering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if delivering.done():
                state = delivering.result()
                if state is not None:
                    await checkpoints.remove()
                return _word(state)
        except (Rejected, NobodyDecodes):
            raise
        except Exception as error:  # a full disk, a store that stays away: this attempt's trouble, not the worker's
            return await self._fail(
                held, ErrorCode.GENERATION_FAILED, f"storing the video failed: {type(error).__name__}", retry=True
            )
        finally:
            await end(stopping, delivering)
        return await self._abandon(held, held.stop_reason or StopReason.LOST, checkpoints)

    async def _abandon(self, held: HeldJob, reason: StopReason, checkpoints: Checkpoints) -> str:
        if reason is StopReason.CANCELLED:
            await checkpoints.remove()
            await held.settle(lambda: self._queue.cancelled(held.claim))
        elif reason.is_for_later:
            await checkpoints.all_kept()
            await held.settle(lambda: self._queue.give_back(held.claim))
        return reason

    async def _fail(self, held: HeldJob, code: ErrorCode, message: str, *, retry: bool) -> str:
        log.warning("attempt failed", extra={"job": held.job, "code": code, "error": message})
        return _word(await held.settle(lambda: self._queue.fail(held.claim, code, message, retry=retry)))


def _word(state: JobState | None) -> str:
    """How metrics and log call an ending."""
    if state is None:
        return StopReason.LOST
    return "retried" if state is JobState.QUEUED else str(state)


def _discard(frames: protocol.FramesFile) -> None:
    Path(frames.path).unlink(missing_ok=True)


def _death(outcome: Outcome) -> str:
    return str(outcome) if isinstance(outcome, ComputeDied) else "compute stopped without being asked"
