"""What the operators published about fleets, at most a second old. The only reader of policies in the gateway.

All callers share one refresh, so a slow Redis is asked once. Closed fleets never open again, so they are asked once.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from videofleet.jobs import Job
from videofleet.policy import FleetPolicy
from videofleet.queue import JobQueue, QueueUnavailable
from videofleet_gateway.decisions import MOST, Decision, decisions
from videofleet_gateway.trouble import describe

log: Final = logging.getLogger(__name__)

MAX_AGE_S: Final = 1.0
ANSWER_S: Final = 1.8  # clients hear of a dead Redis within 2 s


@asynccontextmanager
async def answered_in_time() -> AsyncIterator[None]:
    """Limits what a request waits for Redis, all calls together. Raises: QueueUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError as error:
        raise QueueUnavailable(f"Redis took longer than {ANSWER_S} s") from error


class FleetDirectory:
    """The published fleets."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._policies: dict[str, FleetPolicy] = {}
        self._names: dict[str, str] = {}
        self._paused: set[str] = set()
        self._decided: dict[str, list[Decision]] = {}
        self._unreadable: set[str] = set()
        self._read_at = -MAX_AGE_S
        self._refreshing: asyncio.Task[None] | None = None

    async def policies(self) -> list[FleetPolicy]:
        """Every fleet's policy, closed ones too. Raises: QueueUnavailable."""
        await self._fresh()
        return list(self._policies.values())

    async def policy(self, fleet_uid: str) -> FleetPolicy | None:
        """One fleet's. Raises: QueueUnavailable."""
        await self._fresh()
        return self._policies.get(fleet_uid)

    async def is_paused(self, fleet_uid: str) -> bool:
        """Whether a person has paused its intake. Raises: QueueUnavailable."""
        await self._fresh()
        return fleet_uid in self._paused

    def decided(self, fleet_uid: str) -> list[Decision]:
        """What this replica saw being decided, the latest first."""
        return self._decided.get(fleet_uid, [])

    async def fleet_uids(self) -> list[str]:
        """Every fleet there is or was. Raises: QueueUnavailable."""
        await self._fresh()
        return list(self._names)

    async def name(self, fleet_uid: str) -> str:
        """`namespace/name`; names never change, so a known one costs nothing. Raises: QueueUnavailable."""
        if fleet_uid not in self._names:
            await self._fresh()
        return self._names.get(fleet_uid, fleet_uid)

    async def expires_at_ms(self, job: Job) -> int | None:
        """When a finished job leaves, by the retention in force; None: not by itself. Raises: QueueUnavailable."""
        if job.finished_at_ms is None:
            return None
        policy = await self.policy(job.fleet_uid)
        return None if policy is None or policy.retention_s is None else job.finished_at_ms + policy.retention_s * 1000

    def forget(self) -> None:
        """The next question goes to Redis: somebody learned that this is out of date."""
        self._read_at = -MAX_AGE_S

    async def _fresh(self) -> None:
        if time.monotonic() - self._read_at < MAX_AGE_S:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        began = time.monotonic()
        names = await self._queue.fleets()
        asked = [uid for uid in names if uid not in self._policies or self._policies[uid].closed is None]
        answers = await asyncio.gather(*map(self._policy, asked))
        kept = {uid: policy for uid, policy in self._policies.items() if uid in names}
        paused = await self._queue.intake.paused()
        self._note({uid: policy for uid, policy in zip(asked, answers, strict=True) if policy}, paused)
        self._policies = kept | {uid: policy for uid, policy in zip(asked, answers, strict=True) if policy}
        self._names = names
        self._paused = paused
        self._read_at = began

    def _note(self, fresh: dict[str, FleetPolicy], paused: set[str]) -> None:
        """Keeps what changed since the last look."""
        for uid, policy in fresh.items():
            if (known := self._policies.get(uid)) is None:
                continue
            words = list(decisions(known, policy))
            if (uid in paused) != (uid in self._paused):
                words.append("a person paused the intake" if uid in paused else "a person opened the intake again")
            latest = [Decision(int(time.time()), each) for each in words]
            self._decided[uid] = (latest + self._decided.get(uid, []))[:MOST]

    async def _policy(self, fleet_uid: str) -> FleetPolicy | None:
        """One fleet's policy; one that we cannot read (a newer operator's) must not hide the others."""
        try:
            policy = await self._queue.policy(fleet_uid)
        except ValueError as error:
            if fleet_uid not in self._unreadable:
                log.error("policy not understood", extra={"fleet_uid": fleet_uid} | describe(error))
            self._unreadable.add(fleet_uid)
            return None
        self._unreadable.discard(fleet_uid)
        return policy
