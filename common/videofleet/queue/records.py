"""How a job lies in a Redis hash, and a beacon in its field. Reading only; the scripts write."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from videofleet import ids
from videofleet.beacons import WorkerBeacon
from videofleet.jobs import Job, JobState, Progress, VideoRequest, VideoResult


@dataclass(frozen=True)
class TenantUsage:
    """A tenant's jobs by state, and what its videos took of workers, claim to commit."""

    jobs: Mapping[str, int] = field(default_factory=Counter)
    worker_seconds: float = 0.0

    def plus(self, rows: Iterable[Sequence[str | None]]) -> "TenantUsage":
        """With these (state, result) rows counted in; a record deleted meanwhile has no state."""
        known = [(state, result) for state, result in rows if state is not None]
        seconds = sum(VideoResult.model_validate_json(result).worker_seconds for _, result in known if result)
        return TenantUsage(Counter(self.jobs) + Counter(state for state, _ in known), self.worker_seconds + seconds)


def job(fields: Mapping[str, str]) -> Job:
    """The job in a hash that HGETALL returned."""
    progress, result = fields.get("progress"), fields.get("result")
    return Job(
        id=fields["id"],
        fleet_uid=ids.fleet_uid_of(fields["id"]) or "",
        tenant=fields["tenant"],
        state=JobState(fields["state"]),
        request=VideoRequest.model_validate_json(fields["request"]),
        created_at_ms=int(fields["created_at_ms"]),
        started_at_ms=_int(fields.get("started_at_ms")),
        finished_at_ms=_int(fields.get("finished_at_ms")),
        attempt=int(fields["attempt"]),
        worker=fields.get("worker"),
        revision=fields.get("revision"),
        cancel_requested="cancel_code" in fields,
        progress=Progress.model_validate_json(progress) if progress else None,
        result=VideoResult.model_validate_json(result) if result else None,
        error_code=fields.get("error_code"),
        error_message=fields.get("error_message"),
    )


def beacon(row: str) -> WorkerBeacon:
    """The beacon in a `<ms> <json>` field."""
    at_ms, _, text = row.partition(" ")
    return WorkerBeacon.model_validate_json(text).model_copy(update={"at_ms": int(at_ms)})


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
