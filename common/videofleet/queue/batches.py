"""Batches: many requests handed in at once, kept until every line is a job or an error.

A line's job has its id before it is submitted, and submitting an id twice is one job: whoever feeds a batch may die at
any moment, and two may feed it at once. All keys of a batch lie under its tenant, so no other tenant can name them.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from videofleet import ids
from videofleet.jobs import Job, JobState, NewJob
from videofleet.queue import keys, records
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import BatchNotFound, IdempotencyConflict
from videofleet.wire import Wire

KEPT_MS: Final = 30 * 24 * 3_600_000  # a batch and its answers; its videos have a retention of their own
_STAGED_MS: Final = 600_000  # lines of a batch that was never completed
_PAGE: Final = 500  # lines or records in one round trip
_PAUSE_MS: Final = 30_000  # before another feeder looks at a batch that one has taken


class BatchLine(Wire):
    """One line of the file. Exactly one of `job` (to be submitted), `video_id` and `error_code` is set."""

    number: int  # in the file, from 1
    custom_id: str | None = None
    job: NewJob | None = None
    video_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_param: str | None = None


@dataclass(frozen=True)
class Batch:
    """A batch as Redis knows it; how its jobs stand is read from the jobs."""

    id: str
    tenant: str
    created_at_ms: int
    total: int
    cursor: int  # lines before it were dealt with
    cancelled_at_ms: int | None = None

    @property
    def is_fed(self) -> bool:
        """Whether every line is a job or an error."""
        return self.cursor >= self.total


def batch_id(created_ms: int, entropy: bytes) -> str:
    """The id of a new batch; ids sort by time. `entropy`: 10 random bytes."""
    return f"batch_{created_ms:012x}{entropy.hex()}"


class Batches:
    """The batches of one installation. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._redis = connection.redis
        self._installation = installation

    async def create(
        self, batch: Batch, lines: Sequence[BatchLine], idempotency_digest: str, body_digest: str
    ) -> tuple[str, bool]:
        """Keeps a batch. Returns: its id, and False when the digest had named it. Raises: IdempotencyConflict."""
        prefix = self._prefix(batch.tenant)
        staged = f"{prefix}:staged:{secrets.token_hex(8)}"
        for begin in range(0, len(lines), _PAGE):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.rpush(staged, *(line.to_json() for line in lines[begin : begin + _PAGE]))
            pipeline.pexpire(staged, _STAGED_MS)
            await answer(pipeline.execute())
        # Known to the feeders first: one that finds nothing there yet comes back.
        await answer(self._redis.zadd(keys.open_batches(self._installation), {f"{batch.tenant} {batch.id}": 0}))
        verdict, *found = await self._connection.run_durably(
            "batch_create",
            prefix,
            batch.id,
            staged,
            batch.created_at_ms,
            batch.total,
            idempotency_digest,
            body_digest,
            KEPT_MS,
        )
        if verdict == "conflict":
            raise IdempotencyConflict("this Idempotency-Key was used with a different batch")
        return str(found[0]), verdict == "created"

    async def get(self, tenant: str, batch: str) -> Batch:
        """Raises: BatchNotFound."""
        fields = await answer(self._redis.hgetall(keys.batch(self._prefix(tenant), batch)))
        if not fields:
            raise BatchNotFound("no such batch")
        return _batch(tenant, fields)

    async def page(self, tenant: str, *, after: str | None, limit: int) -> list[Batch]:
        """A tenant's batches, the latest first, beginning behind the batch `after`."""
        prefix = self._prefix(tenant)
        bound = f"({after}" if after else "+"
        found = await answer(self._redis.zrevrangebylex(keys.batches(prefix), bound, "-", start=0, num=limit))
        rows = await self._together(keys.batch(prefix, each) for each in found)
        return [_batch(tenant, row) for row in rows if row]

    async def lines(self, batch: Batch, first: int, most: int = _PAGE) -> list[BatchLine]:
        """Its lines from index `first` on."""
        key = keys.batch_lines(self._prefix(batch.tenant), batch.id)
        return [
            BatchLine.model_validate_json(row) for row in await answer(self._redis.lrange(key, first, first + most - 1))
        ]

    async def commit(self, batch: Batch, first: int, lines: Sequence[BatchLine]) -> bool:
        """Takes in lines that were dealt with. Returns: False when another feeder was faster."""
        texts = [line.to_json() for line in lines]
        prefix = self._prefix(batch.tenant)
        return bool(await self._connection.run_durably("batch_commit", prefix, batch.id, first, *texts))

    async def cancel(self, batch: Batch, now_ms: int) -> None:
        """Nothing more is submitted, and what was is cancelled by a feeder."""
        key = keys.batch(self._prefix(batch.tenant), batch.id)
        await answer(self._redis.hsetnx(key, "cancelled_at_ms", str(now_ms)))
        await answer(self._redis.zadd(keys.open_batches(self._installation), {f"{batch.tenant} {batch.id}": 0}))

    async def take(self, most: int) -> list[tuple[str, str]]:
        """Batches that have work left, as (tenant, id); no other feeder is told of them for a while."""
        prefix = keys.installation_prefix(self._installation)
        found = await self._connection.run("batch_take", prefix, _PAUSE_MS, most)
        return [(tenant, batch) for tenant, _, batch in (member.partition(" ") for member in found)]

    async def close(self, tenant: str, batch: str) -> None:
        """The batch has no work left."""
        await answer(self._redis.zrem(keys.open_batches(self._installation), f"{tenant} {batch}"))

    async def again(self, tenant: str, batch: str, at_ms: int) -> None:
        """The batch is to be looked at again at that moment."""
        member = {f"{tenant} {batch}": at_ms}
        await answer(self._redis.zadd(keys.open_batches(self._installation), member, xx=True))

    async def forget_tenant(self, tenant: str) -> None:
        """No line of the tenant's is kept, and none is submitted any more."""
        prefix = self._prefix(tenant)
        for batch in await answer(self._redis.zrange(keys.batches(prefix), 0, -1)):
            await self.close(tenant, batch)
            idem_key = await answer(self._redis.hget(keys.batch(prefix, batch), "idem_key"))
            gone = [keys.batch(prefix, batch), keys.batch_lines(prefix, batch), *([idem_key] if idem_key else [])]
            await answer(self._redis.delete(*gone))
        await answer(self._redis.delete(keys.batches(prefix)))

    async def jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs of these ids; None for what was deleted."""
        found: list[Job | None] = []
        for begin in range(0, len(job_ids), _PAGE):
            calls = [
                self._connection.run("get", self._fleet_prefix(each), each) for each in job_ids[begin : begin + _PAGE]
            ]
            found += [records.job(records.fields(row)) if row else None for (row,) in await asyncio.gather(*calls)]
        return found

    async def endings(self, job_ids: Sequence[str]) -> list[tuple[JobState, int] | None]:
        """State and end (ms, 0 while it has none) of these jobs; None for what was deleted. Cheaper than `jobs`."""
        found: list[tuple[JobState, int] | None] = []
        for begin in range(0, len(job_ids), _PAGE):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids[begin : begin + _PAGE]:
                pipeline.hmget(self._job_key(job_id), "state", "finished_at_ms")
            rows = await answer(pipeline.execute())
            found += [(JobState(state), int(ended or 0)) if state else None for state, ended in rows]
        return found

    async def _together(self, wanted: Iterable[str]) -> list[dict[str, str]]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in wanted:
            pipeline.hgetall(key)
        return list(await answer(pipeline.execute()))

    def _prefix(self, tenant: str) -> str:
        return keys.tenant_prefix(self._installation, tenant)

    def _job_key(self, job_id: str) -> str:
        return keys.job(self._fleet_prefix(job_id), job_id)

    def _fleet_prefix(self, job_id: str) -> str:
        return keys.fleet_prefix(self._installation, ids.fleet_uid_of(job_id) or "")


def _batch(tenant: str, fields: dict[str, Any]) -> Batch:
    cancelled = fields.get("cancelled_at_ms")
    return Batch(
        id=fields["id"],
        tenant=tenant,
        created_at_ms=int(fields["created_at_ms"]),
        total=int(fields["total"]),
        cursor=int(fields["cursor"]),
        cancelled_at_ms=int(cancelled) if cancelled else None,
    )
