"""The outbox: ends of jobs that a webhook is to be told of, written in the very script that ended the job.

A notice is taken for a while and settled with a token, so that of two deliverers one is refused. At least once: who
dies while delivering leaves it to the next, and the receiver knows a repeat by its id.
"""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from videofleet.jobs import Job
from videofleet.queue import keys, records
from videofleet.queue.connection import Connection

LEASE_MS: Final = 60_000  # longer than a delivery may take
DISABLED_MS: Final = 24 * 3_600_000  # that a URL which answered 410 is left alone


class Settled(StrEnum):
    """How a delivery ended."""

    DELIVERED = "delivered"
    FAILED = "failed"  # the last attempt; nothing follows
    DISABLED = "disabled"  # 410: the URL is left alone for a day
    AGAIN = "again"  # an attempt that failed; another follows
    LATER = "later"  # no attempt was made


@dataclass(frozen=True)
class Notice:
    """One end of one job, in the hands of one deliverer."""

    job: Job
    url: str
    id: str  # the same in every attempt
    attempts: int  # made before
    token: str = field(repr=False)


class Outbox:
    """The notices of one installation. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def take(self, fleet_uid: str, most: int) -> list[Notice]:
        """Due notices of a fleet, for `LEASE_MS`."""
        token = secrets.token_hex(16)
        rows = await self._connection.run("take_notices", self._prefix(fleet_uid), token, LEASE_MS, most)
        return [_notice(records.fields(row), token) for row in rows]

    async def settle(self, notice: Notice, outcome: Settled, delay_s: float = 0.0) -> bool:
        """Takes in how the delivery ended. Returns: False when the notice was another's by then."""
        return bool(
            await self._connection.run(
                "settle_notice",
                self._prefix(notice.job.fleet_uid),
                notice.job.id,
                notice.token,
                outcome,
                round(delay_s * 1000),
                DISABLED_MS,
            )
        )

    async def depth(self, fleet_uid: str) -> tuple[int, float]:
        """How many notices are not delivered yet, and how many seconds the first of them is overdue."""
        waiting, overdue_ms = await self._connection.run("outbox_depth", self._prefix(fleet_uid))
        return int(waiting), int(overdue_ms) / 1000

    def _prefix(self, fleet_uid: str) -> str:
        return keys.fleet_prefix(self._installation, fleet_uid)


def _notice(fields: dict[str, str], token: str) -> Notice:
    job = records.job(fields)
    return Notice(
        job=job,
        url=fields["webhook"],
        id=f"{job.id}-{fields['notice']}",
        attempts=int(fields["notice_attempts"]),
        token=token,
    )
