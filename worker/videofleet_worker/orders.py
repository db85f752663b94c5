"""One order in a decoder's hands: fetched, decoded, finished, stored and answered, while a beat keeps it.

Invariant: it ends by an answer, by giving it back, or by silence once it was lost; in each case but the first, nothing
of it stays in the store.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from videofleet import objects
from videofleet.jobs import ErrorCode
from videofleet.queue import Decoded, JobQueue, LeaseLost, QueueError, TakenOrder
from videofleet.store import ObjectStore
from videofleet_worker import protocol
from videofleet_worker.engine import ComputeDied, Engine
from videofleet_worker.finishing import Made
from videofleet_worker.gate import Flaw, Rejected
from videofleet_worker.metrics import Metrics
from videofleet_worker.publishing import Publishing
from videofleet_worker.settings import Settings
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
AGAIN_S: Final = 0.5  # until Redis takes the answer


class Order:
    """One clip to make. `run` never raises, but for cancellation."""

    def __init__(
        self,
        taken: TakenOrder,
        settings: Settings,
        queue: JobQueue,
        engine: Engine,
        computing: asyncio.Lock,
        metrics: Metrics,
    ) -> None:
        self._taken = taken
        self._order = taken.order
        self._settings = settings
        self._decodes = queue.decodes
        self._engine = engine
        self._computing = computing
        self._metrics = metrics
        self._is_lost = False
        scratch = settings.scratch / f"{self._order.job}-{taken.token[:8]}"
        self._frames, self._latents = scratch.with_suffix(".rgb"), scratch.with_suffix(".checkpoint.last")
        attempt = objects.attempt_folder(self._order.request.output_prefix, self._order.job, self._order.attempt)
        self._folder = f"{attempt}/{taken.token[:8]}"  # a decoder before us may still write to its own

    async def run(self, store: ObjectStore, publishing: Publishing) -> None:
        """To its end, unless the order is lost meanwhile."""
        log.info("order taken", extra={"job": self._order.job, "attempt": self._order.attempt})
        beating = asyncio.create_task(self._beat())
        word = "lost"
        try:
            if await self._settle(await self._made(store, publishing), publishing):
                word = "answered"
        except (ComputeDied, asyncio.CancelledError) as error:
            word = "given_back"
            with suppress(QueueError):
                await self._decodes.give_back(self._settings.fleet_uid, self._taken)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            await end(beating)
            for file in (self._frames, self._latents):
                file.unlink(missing_ok=True)
            self._metrics.decodes.labels(word).inc()
            log.info("order ended", extra={"job": self._order.job, "outcome": word})

    async def _made(self, store: ObjectStore, publishing: Publishing) -> Decoded:
        """Raises: ComputeDied."""
        try:
            await store.get_file(self._order.latents_key, self._latents)
            async with self._computing:
                outcome = None if self._is_lost else await self._computed()
            match outcome:
                case protocol.Generated(frames=frames):
                    order = self._order
                    made = Made(order.job, order.attempt, order.request, is_golden=order.is_golden)
                    clip = await publishing.publish(frames, self._folder, made, lambda _: None)
                    return Decoded(folder=clip.folder, video_bytes=clip.video_bytes, look=clip.look)
                case protocol.Failed(code=ErrorCode.NOT_FINITE):
                    return Decoded(flaw=Flaw.NOT_FINITE)
                case protocol.Failed(message=message):
                    return Decoded(error=message)
        except Rejected as rejected:
            return Decoded(flaw=rejected.flaw)
        except ComputeDied:
            raise
        except Exception as error:  # a store that stays away, a full disk, an encoder's trouble: of this clip here
            return Decoded(error=f"the decoder failed: {type(error).__name__}")
        return Decoded(error="decoding was stopped")

    async def _computed(self) -> protocol.Outcome | None:
        """Raises: ComputeDied."""
        found: list[protocol.Outcome] = []

        def hear(news: protocol.News) -> None:
            if isinstance(news, protocol.Outcome):
                found.append(news)

        work = protocol.Work(
            job=self._order.job,
            request=self._order.request,
            frames_path=str(self._frames),
            checkpoint_path="",
            checkpoint_every_s=0.0,
            resume_path=str(self._latents),
        )
        await self._engine.generate([work], hear)
        return found[-1] if found else None

    async def _settle(self, decoded: Decoded, publishing: Publishing) -> bool:
        """Whether the owner will hear of it; if not, what was stored goes."""
        while True:
            try:
                await self._decodes.settle(self._settings.fleet_uid, self._taken, decoded)
                return True
            except LeaseLost:
                if decoded.folder:
                    await publishing.remove(decoded.folder)
                return False
            except QueueError as error:
                log.warning("queue does not take the answer yet", extra={"error": str(error)})
            await asyncio.sleep(AGAIN_S)

    async def _beat(self) -> None:
        """Until the order is lost. Redis may be away for as long as it likes."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._decodes.beat(self._settings.fleet_uid, self._taken)
            except LeaseLost:  # compute leaves it by itself, or a clip is made that nobody takes
                self._is_lost = True
                return self._engine.stop_job(self._order.job, checkpoint=False)
            except QueueError as error:
                log.warning("beat not heard", extra={"job": self._order.job, "error": str(error)})
