"""What the moderation hook said of a video, kept with the job for as long as the job is."""

from videofleet import ids
from videofleet.jobs import Verdict
from videofleet.queue import keys
from videofleet.queue.connection import Connection


class Verdicts:
    """The verdicts of all fleets. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def keep(self, job_id: str, verdict: Verdict) -> None:
        """Stays with the job; nothing happens when the job has left."""
        prefix = keys.fleet_prefix(self._installation, ids.fleet_uid_of(job_id) or "")
        await self._connection.run("judge", prefix, job_id, verdict)
