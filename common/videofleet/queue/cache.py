"""Which jobs asked for the same video, so that one that is done can answer the next.

Owns the lists of candidates, a few of the latest for each digest; whether one of them fits is its user's question. A
job that leaves takes its place in the list along.
"""

from typing import Final

from videofleet.jobs import Job, JobState, VideoResult
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import FleetClosed
from videofleet.queue.leaving import AGAIN_MS, Owed

_REMEMBERED: Final = 4


class ResultCache:
    """The candidates of all fleets. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def candidates(self, fleet_uid: str, scope: str, digest: str) -> list[str]:
        """Ids of jobs that asked for it, the latest first."""
        key = keys.cached(self._prefix(fleet_uid), scope, digest)
        return list(await answer(self._connection.redis.lrange(key, 0, -1)))

    async def remember(self, job: Job, scope: str, digest: str) -> None:
        """From now on the job is a candidate, until it leaves."""
        await self._connection.run("remember", self._prefix(job.fleet_uid), job.id, scope, digest, _REMEMBERED)

    async def owe(self, fleet_uid: str, store: str, folder: str) -> Owed:
        """Before a copy is made: it goes by itself unless `answered` takes it over. Raises: FleetClosed."""
        owed = Owed.parse(fleet_uid, f"2 {store} {folder}")
        if not await self._connection.run("owe", self._prefix(fleet_uid), owed.text, AGAIN_MS):
            raise FleetClosed("the VideoGenerator was deleted")
        return owed

    async def answered(self, job: Job, result: VideoResult, owed: Owed) -> bool:
        """Ends a waiting job with a copy of an earlier result. Returns: False when a worker was quicker."""
        args = (job.id, result.to_json(), owed.text)
        state = await self._connection.run_durably("answer", self._prefix(job.fleet_uid), *args)
        return bool(state == JobState.SUCCEEDED)

    def _prefix(self, fleet_uid: str) -> str:
        return keys.fleet_prefix(self._installation, fleet_uid)
