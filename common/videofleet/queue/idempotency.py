"""Idempotency-Keys of a tenant, over all its fleets: which fleet each was used for, with which body.

Fleets and tenants lie in different cluster slots. So this only finds the fleet; that a key makes one job is guarded in
the fleet's own submit script. A crash in between leaves a use without a job, which the same request then fills.
"""

from typing import Final

from videofleet.jobs import NewJob
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import IdempotencyConflict

KEPT_MS: Final = 24 * 3_600_000


class IdempotencyKeys:
    """The keys of one installation. Every call raises QueueUnavailable.

    Nothing here waits for a replica: the submission that follows does, and what came before it is there by then.
    """

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def use(self, job: NewJob) -> str | None:
        """Returns: the fleet that the key was used for before, None at its first use. Raises: IdempotencyConflict."""
        prefix, digest = self._prefix(job.tenant), job.idempotency_digest
        verdict, *used = await self._connection.run("idem_use", prefix, digest, job.fleet_uid, job.body_digest, KEPT_MS)
        if verdict == "conflict":
            raise IdempotencyConflict("this Idempotency-Key was used with a different request")
        return used[0] if used else None

    async def earlier_job(self, job: NewJob, fleet_uid: str) -> str | None:
        """The id of the job that the key made in that fleet."""
        prefix = keys.fleet_prefix(self._installation, fleet_uid)
        key = keys.idempotency(prefix, job.tenant, job.idempotency_digest)
        found: str | None = await answer(self._connection.redis.hget(key, "id"))
        return found

    async def move(self, job: NewJob, used_for: str) -> None:
        """The key now stands for the job's own fleet: what it was used for before is gone."""
        await self._move(job, used_for, job.fleet_uid)

    async def forget(self, job: NewJob) -> None:
        """Nothing was queued, so another request may have the key."""
        await self._move(job, job.fleet_uid, "")

    async def forget_tenant(self, tenant: str) -> None:
        """None of the tenant's keys is remembered."""
        prefix = self._prefix(tenant)
        await answer(self._connection.redis.delete(f"{prefix}:idem", f"{prefix}:idem_ends"))

    async def _move(self, job: NewJob, used_for: str, fleet_uid: str) -> None:
        prefix, digest = self._prefix(job.tenant), job.idempotency_digest
        await self._connection.run("idem_move", prefix, digest, used_for, job.body_digest, fleet_uid)

    def _prefix(self, tenant: str) -> str:
        return keys.tenant_prefix(self._installation, tenant)
