"""A tenant's limits over all fleets: a place is reserved under the tenant, then the job is queued under its fleet.

Fleets and tenants lie in different cluster slots, so no script sees both. What is queued is counted where it is, each
time; a reservation covers the moment between. A submission that dies leaves one that expires. The limits are never
exceeded; submissions at the very same moment may be asked to try again, which they do here by themselves.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from videofleet.jobs import NewJob
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import Limit, LimitReached, QueueError, QueueUnavailable

_TRIES: Final = 5  # while other submissions of the tenant are on their way
_PAUSE_S: Final = 0.02


@dataclass(frozen=True)
class TenantLimits:
    """What a tenant may have, over all fleets but for `running`; None: as much as it likes."""

    queued: int | None = None
    unfinished: int | None = None  # queued or running
    seconds_a_day: int | None = None  # of workers: used since midnight UTC and expected for what is unfinished

    running: int | None = None  # in each fleet; obeyed when jobs are claimed, from the next submission on

    @property
    def is_unlimited(self) -> bool:
        """Whether a submission has nothing to check."""
        return (self.queued, self.unfinished, self.seconds_a_day) == (None, None, None)


@dataclass(frozen=True)
class _Standing:
    """What the tenant has, over the fleets read."""

    is_repeat: bool  # the Idempotency-Key named a job before
    queued: int
    running: int
    seconds: float
    expected_s: float  # of the job to be submitted


@dataclass(frozen=True)
class _Refused:
    """`others`: submissions on their way that were counted, perhaps twice."""

    error: LimitReached
    others: int


class Reservation:
    """A place for one submission. Entering it raises LimitReached."""

    def __init__(self, connection: Connection, installation: str, job: NewJob, limits: TenantLimits) -> None:
        self._connection = connection
        self._installation = installation
        self._job = job
        self._limits = limits
        self._prefix = keys.tenant_prefix(installation, job.tenant)
        self._is_held = False
        self.is_used = False

    async def __aenter__(self) -> Self:
        for left in reversed(range(_TRIES)):
            if (refused := await self._reserve()) is None:
                return self
            if not (refused.others and left):
                raise refused.error
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        is_known = error is None or (isinstance(error, QueueError) and not isinstance(error, QueueUnavailable))
        if not (self._is_held and is_known):
            return  # whether the job is queued is not known: the reservation stands until it expires
        try:
            await self._connection.run("settle", self._prefix, self._job.id, int(self.is_used))
        except QueueUnavailable:
            return  # the submission stands

    async def _reserve(self) -> _Refused | None:
        """None when there is room, or nothing to be made room for."""
        since_ms, known = await self._connection.run("tenant", self._prefix)
        fleets = sorted({*(known or await self._all_fleets()), self._job.fleet_uid})
        standing = await self._standing(fleets)
        if standing.is_repeat:
            return None
        counted = (standing.queued, standing.queued + standing.running, standing.seconds)
        limits = (self._limits.queued, self._limits.unfinished, self._limits.seconds_a_day)
        texts = ("" if limit is None else limit for limit in limits)
        reply = await self._connection.run(
            "reserve", self._prefix, self._job.id, standing.expected_s, since_ms, *counted, *texts, *fleets
        )
        if reply[0] == "ok":
            self._is_held = True
            return None
        limit, others, most, day_left_ms = reply
        return _Refused(LimitReached(Limit(limit), int(most), int(day_left_ms) // 1000 + 1), int(others))

    async def _all_fleets(self) -> list[str]:
        """For a tenant whose first limit this is."""
        return list(await answer(self._connection.redis.hkeys(keys.fleet_index(self._installation))))

    async def _standing(self, fleets: list[str]) -> _Standing:
        tier, digest = self._job.request.tier, self._job.idempotency_digest
        rows = await asyncio.gather(
            *(
                self._connection.run(
                    "standing",
                    keys.fleet_prefix(self._installation, uid),
                    self._job.tenant,
                    digest if uid == self._job.fleet_uid else "",
                    tier.name,
                    tier.cost,
                )
                for uid in fleets
            )
        )
        own = rows[fleets.index(self._job.fleet_uid)]
        return _Standing(
            is_repeat=bool(own[0]),
            queued=sum(row[1] for row in rows),
            running=sum(row[2] for row in rows),
            seconds=sum(float(row[3]) for row in rows),
            expected_s=float(own[4]),
        )
