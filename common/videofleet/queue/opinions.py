"""What people say of videos, counted by revision and tier. The counts outlive the videos and name nobody."""

from typing import Any

from videofleet import ids
from videofleet.feedback import Feedback, Label
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import JobNotFinished, JobNotFound


class Opinions:
    """The feedback of all fleets. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def rate(self, job_id: str, rating: int, label: Label | None) -> None:
        """Counts it; said again, it replaces what was said. Raises: JobNotFound, JobNotFinished without a video."""
        prefix = keys.fleet_prefix(self._installation, ids.fleet_uid_of(job_id) or "")
        match await self._connection.run("rate", prefix, job_id, rating, label or ""):
            case "missing":
                raise JobNotFound("no such job")
            case "unfinished":
                raise JobNotFinished("the job has no video")

    async def of(self, fleet_uid: str) -> list[Feedback]:
        """The counts of one fleet, in the order of revision and tier."""
        prefix = keys.fleet_prefix(self._installation, fleet_uid)
        counters = await answer(self._connection.redis.hgetall(keys.feedback(prefix)))
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for name, count in sorted(counters.items()):
            revision, tier, what = name.split("|")
            row = rows.setdefault((revision, tier), {"labels": {}})
            kind, _, label = what.partition(":")
            if kind == "label":
                row["labels"][Label(label)] = int(count)
            else:
                row[kind] = int(count)
        return [Feedback(revision=revision, tier=tier, **row) for (revision, tier), row in rows.items()]
