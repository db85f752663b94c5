"""A claimed job while this worker holds it: beats until it is settled, and learns when to stop.

Invariant: the lease is beaten from claim to settlement, by one task. Redis may be away for as long as it likes: work
goes on, and the ending is tried until Redis answers, because the ending is fenced. Only Redis' own word that the lease
is lost makes us drop an attempt.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, Self, TypeVar

from videofleet.jobs import Claim, Progress
from videofleet.queue import JobQueue, LeaseLost, QueueError
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)

T = TypeVar("T")

BEAT_MOST_S: Final = 2.0  # a cancel is heard of within this
BEAT_LEAST_S: Final = 0.25  # steps may be faster than Redis needs to know
RETRY_MOST_S: Final = 2.0


class StopReason(StrEnum):
    """Why an attempt ends without a video of ours."""

    CANCELLED = "cancelled"
    LOST = "lost"  # another worker has the job, or it is gone
    DRAINED = "given_back"
    PREEMPTED = "preempted"  # somebody waits who is more urgent

    @property
    def is_for_later(self) -> bool:
        """Whether the job goes on from a checkpoint, the attempt not counted."""
        return self in (StopReason.DRAINED, StopReason.PREEMPTED)


class HeldJob:
    """One claim in our hands. An async context manager: it beats inside."""

    def __init__(self, queue: JobQueue, claim: Claim) -> None:
        self.claim = claim
        self.claimed_at = time.monotonic()
        self.progress = Progress(stage="loading", steps=claim.tier.num_inference_steps)
        self.stop_reason: StopReason | None = None
        self.stopped = asyncio.Event()
        self._queue = queue
        self._news = asyncio.Event()
        self.is_settling = False  # the ending is on its way; beats have ended
        self.batch: list[HeldJob] = [self]  # jobs that began together, this one among them
        self._beater: asyncio.Task[None] | None = None

    @property
    def job(self) -> str:
        """The job's id."""
        return self.claim.job.id

    @property
    def held_s(self) -> float:
        """Seconds since the claim."""
        return time.monotonic() - self.claimed_at

    async def __aenter__(self) -> Self:
        self._beater = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beater is not None:
            await end(self._beater)

    def report(self, progress: Progress) -> None:
        """The next beat carries this."""
        self.progress = progress
        self._news.set()

    def enter_stage(self, stage: str) -> None:
        """What happens to the clip now."""
        self.report(self.progress.model_copy(update={"stage": stage}))

    def stop(self, reason: StopReason) -> None:
        """Ends the attempt; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.stopped.set()

    async def settle(self, ending: Callable[[], Awaitable[T]]) -> T | None:
        """Tries an ending until Redis answers. Returns: None when the lease was lost."""
        self.is_settling = True
        pause_s = BEAT_LEAST_S
        while True:
            try:
                return await ending()
            except LeaseLost:
                return None
            except QueueError as error:
                log.warning("queue does not take the result yet", extra={"job": self.job, "error": str(error)})
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _beat(self) -> None:
        """Beats when there is news, but not too often, and anyway before long."""
        interval_s = min(BEAT_MOST_S, self.claim.lease_ms / 6000)
        while not self.is_settling:
            self._news.clear()
            try:
                reply = await self._queue.beat(self.claim, self.progress)
            except LeaseLost:
                if not self.is_settling:  # while settling, the ending itself says what became of the job
                    self.stop(StopReason.LOST)
                return
            except QueueError as error:
                log.warning("beat not heard", extra={"job": self.job, "error": str(error)})
            else:
                if reply.cancel_requested:
                    self.stop(StopReason.CANCELLED)
                elif reply.yield_requested:
                    for held in self.batch:  # compute is free only when all of them are out of it
                        held.stop(StopReason.PREEMPTED)
            await asyncio.sleep(BEAT_LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s - BEAT_LEAST_S):
                    await self._news.wait()
