"""How jobs leave: their record at once, their files soon and surely.

Owns the list of folders that are owed to the stores. A record is removed and its folder owed in one script, so that no
crash leaves a file that nobody will delete; a closed fleet follows its last record and folder. Deleting twice changes
nothing, so replicas need no lock; a second pass after `AGAIN_MS` takes what a worker that had lost its lease was still
uploading.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from videofleet import ids
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import JobNotFinished, JobNotFound

AGAIN_MS: Final = 900_000  # longer than a worker tries to upload
PAUSE_MS: Final = 120_000  # before another replica tries what this one began
LINGER_MS: Final = 2 * 3_600_000  # of a closed fleet: clients hear why, and files are searched once more
TOMBSTONE_MS: Final = 30 * 24 * 3_600_000  # outlives every worker, and every backup of the cluster somebody restores
_LOOKED_UP: Final = 500  # ids in one round trip


@dataclass(frozen=True)
class Owed:
    """A folder that is to be deleted: everything of one job."""

    fleet_uid: str
    store: str
    folder: str
    text: str  # as Redis spells it

    @classmethod
    def parse(cls, fleet_uid: str, text: str) -> Self:
        """From `<pass> <store> <folder>`."""
        _, store, folder = text.split(" ", 2)
        return cls(fleet_uid, store, folder, text)


class Leaving:
    """The jobs that go, of all fleets of an installation. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def remove(self, job_id: str) -> Owed | None:
        """Forgets a finished job. Returns: what is owed, if it had files. Raises: JobNotFound, JobNotFinished."""
        return await self._leave("remove", job_id)

    async def purge(self, job_id: str) -> Owed | None:
        """Forgets a job in any state; a worker that runs it is told to drop it. Raises: JobNotFound."""
        return await self._leave("purge", job_id)

    async def expire(self, fleet_uid: str) -> list[str]:
        """Forgets up to 100 jobs that are older than the fleet's retention. Returns: their ids."""
        return list(await self._run("expire", fleet_uid))

    async def owed(self, fleet_uid: str) -> list[Owed]:
        """Up to 100 folders whose deletion is due; asked again soon, they are not told."""
        return [Owed.parse(fleet_uid, text) for text in await self._run("owed", fleet_uid, PAUSE_MS)]

    async def paid(self, owed: Owed) -> None:
        """The folder was deleted, or was not there."""
        await self._run("paid", owed.fleet_uid, owed.text, AGAIN_MS)

    async def erasures(self, fleet_uids: Sequence[str]) -> dict[str, int]:
        """How often a tenant was erased from each fleet; `submit` refuses what was read before the latest time."""
        pipeline = self._connection.redis.pipeline(transaction=False)
        for fleet_uid in fleet_uids:
            pipeline.get(keys.erasures(self._prefix(fleet_uid)))
        counts = await answer(pipeline.execute())
        return {fleet_uid: int(count or 0) for fleet_uid, count in zip(fleet_uids, counts, strict=True)}

    async def begin_erasure(self, fleet_uids: Iterable[str]) -> None:
        """What somebody read of a tenant before now becomes no job in these fleets; what became one can be found."""
        for fleet_uid in fleet_uids:
            await self._run("begin_erasure", fleet_uid)

    async def forget_tenant(self, tenant: str, fleet_uids: Iterable[str]) -> None:
        """Nothing of a tenant without jobs stays in these fleets or beside them but its sum of worker seconds."""
        for fleet_uid in fleet_uids:
            await self._run("forget_tenant", fleet_uid, tenant)
        await answer(self._connection.redis.delete(keys.tenant_fleets(self._installation, tenant)))

    async def sweep(self, fleet_uid: str) -> bool:
        """Takes away all that is left of a closed fleet whose records and files have left. Returns: whether it did.

        A crash between two steps leaves the fleet listed, so that the next call goes on.
        """
        redis = self._connection.redis
        while True:
            verdict, *tenants = await self._run("sweep_fleet", fleet_uid, LINGER_MS, TOMBSTONE_MS)
            if verdict == "kept":
                return False
            if verdict == "swept":
                await answer(redis.srem(keys.paused(self._installation), fleet_uid))
                await answer(redis.hdel(keys.fleet_index(self._installation), fleet_uid))
                return True
            for tenant in tenants:
                await answer(redis.srem(keys.tenant_fleets(self._installation, tenant), fleet_uid))
                await self._run("forget_tenant", fleet_uid, tenant)

    async def gone(self, job_ids: list[str]) -> set[str]:
        """Those of the ids that no record has."""
        missing: set[str] = set()
        for begin in range(0, len(job_ids), _LOOKED_UP):
            page = job_ids[begin : begin + _LOOKED_UP]
            pipeline = self._connection.redis.pipeline(transaction=False)
            for job_id in page:
                pipeline.exists(keys.job(self._prefix(ids.fleet_uid_of(job_id) or ""), job_id))
            found = await answer(pipeline.execute())
            missing.update(job_id for job_id, exists in zip(page, found, strict=True) if not exists)
        return missing

    async def _leave(self, script: str, job_id: str) -> Owed | None:
        fleet_uid = ids.fleet_uid_of(job_id)
        if fleet_uid is None:
            raise JobNotFound("no such job")
        verdict, *owed = await self._connection.run_durably(script, self._prefix(fleet_uid), job_id)
        match verdict:
            case "missing":
                raise JobNotFound("no such job")
            case "unfinished":
                raise JobNotFinished("the job is not finished; cancel it first")
        return Owed.parse(fleet_uid, owed[0]) if owed else None

    async def _run(self, script: str, fleet_uid: str, *args: str | int) -> Any:
        return await self._connection.run(script, self._prefix(fleet_uid), *args)

    def _prefix(self, fleet_uid: str) -> str:
        return keys.fleet_prefix(self._installation, fleet_uid)
