"""Turns at compute: one round of jobs at a time, and a round begins when all of its jobs are there.

Owns nothing of a job but the wait. Invariant: each job gets an outcome or leaves; compute is free when the last has.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from videofleet_worker import protocol
from videofleet_worker.engine import ComputeDied, Engine
from videofleet_worker.metrics import Metrics
from videofleet_worker.status import Status
from videofleet_worker.tasks import end

Hear = Callable[[protocol.News], None]
Outcome = protocol.Outcome | ComputeDied


class Turns:
    """Who may use compute now. `free` is held by a round, and by whoever starts compute."""

    def __init__(self, engine: Engine, status: Status, metrics: Metrics) -> None:
        self.engine = engine
        self.status = status
        self.metrics = metrics
        self.free = asyncio.Lock()

    def round_of(self, jobs: Iterable[str]) -> "Round":
        """A round that begins when these jobs have come or left."""
        return Round(self, set(jobs))


class Round:
    """Jobs that go into compute together."""

    def __init__(self, turns: Turns, awaited: set[str]) -> None:
        self._turns = turns
        self._awaited = awaited
        self._works: dict[str, protocol.Work] = {}
        self._hears: dict[str, Hear] = {}
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {}
        self._going: asyncio.Task[None] | None = None

    async def made(self, work: protocol.Work, hear: Hear) -> Outcome:
        """The job's outcome; `hear` is told what happens on the way. Cancel it before the round's turn to leave."""
        outcome = self._outcomes[work.job] = asyncio.get_running_loop().create_future()
        self._works[work.job], self._hears[work.job] = work, hear
        self.leave(work.job)
        try:
            found: Outcome = await outcome
            return found
        finally:
            del self._works[work.job], self._hears[work.job], self._outcomes[work.job]
            if not self._works and self._going is not None:
                await end(self._going)

    def leave(self, job: str) -> None:
        """Nobody waits for this job any more."""
        self._awaited.discard(job)
        if self._works and not self._awaited and self._going is None:
            self._going = asyncio.create_task(self._go())

    async def _go(self) -> None:
        turns = self._turns
        async with turns.free:
            works = list(self._works.values())
            turns.status.jobs = tuple(work.job for work in works)
            turns.metrics.batch_size.observe(len(works))
            begun = time.monotonic()
            try:
                await turns.engine.generate(works, self._hear)
            except ComputeDied as died:
                for outcome in self._outcomes.values():
                    if not outcome.done():
                        outcome.set_result(died)
            finally:
                turns.status.jobs = ()
                turns.metrics.compute_seconds.inc(time.monotonic() - begun)

    def _hear(self, news: protocol.News) -> None:
        outcome = self._outcomes.get(news.job)
        if outcome is None or outcome.done():
            return
        if isinstance(news, protocol.Outcome):
            outcome.set_result(news)
        else:
            self._hears[news.job](news)
