"""What scripts tell of a job, and how a beacon lies in its field. Reading only; the scripts write.

A request that cannot be read never raises: a listing with one in it still lists the others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from videofleet import ids
from videofleet.beacons import WorkerBeacon
from videofleet.jobs import (
    PAYLOAD_VERSION,
    Job,
    JobState,
    NewJob,
    NoticeState,
    Outcomes,
    Priority,
    Progress,
    Verdict,
    VideoRequest,
    VideoResult,
    Webhook,
)
from videofleet.tiers import Tier

_NO_TIER: Final = Tier(name="unknown", width=0, height=0, num_frames=0, num_inference_steps=0, fps=1)
UNREADABLE: Final = VideoRequest(v=0, prompt="", seed=0, tier=_NO_TIER)
"""Stands for a request that is damaged."""
_SUMS: Final = {
    "worker_ms": ("worker_s", 1000),
    "step_us": ("step_s", 1_000_000),
    "recovery_ms": ("recovery_s", 1000),
    "wait_ms": ("wait_s", 1000),
    "alone_us": ("alone_s", 1_000_000),
    "pass_us": ("pass_s", 1_000_000),
}


@dataclass(frozen=True)
class TenantUsage:
    """A tenant's records by state, and the seconds of workers that its attempts ever took, claim to end."""

    jobs: Mapping[str, int]
    worker_seconds: float


def usage(rows: Iterable[Mapping[str, str]]) -> TenantUsage:
    """The sum over fleets."""
    jobs: Counter[str] = Counter()
    worker_seconds = 0.0
    for row in rows:
        jobs.update({state: int(row.get(state, 0)) for state in JobState})
        worker_seconds += int(row.get("worker_ms", 0)) / 1000
    return TenantUsage(jobs, worker_seconds)


def fields(row: Sequence[str]) -> dict[str, str]:
    """Names and values in turn, as Redis tells a hash."""
    return dict(zip(row[::2], row[1::2], strict=True))


def job(fields: Mapping[str, str]) -> Job:
    """The job in a record."""
    progress, result = fields.get("progress"), fields.get("result")
    return Job(
        id=fields["id"],
        fleet_uid=ids.fleet_uid_of(fields["id"]) or "",
        tenant=fields["tenant"],
        state=JobState(fields["state"]),
        request=_request(fields["request"]),
        priority=Priority(fields["priority"]),
        deadline_ms=_int(fields.get("deadline_ms")),
        created_at_ms=ids.created_ms_of(fields["id"]),
        started_at_ms=_int(fields.get("started_at_ms")),
        finished_at_ms=_int(fields.get("finished_at_ms")),
        attempt=int(fields["attempt"]),
        worker=fields.get("worker"),
        revision=fields.get("revision"),
        lowered_to=_tier(fields.get("lowered")),
        fallback=fields.get("fallback"),
        cancel_requested="cancel_code" in fields,
        progress=Progress.model_validate_json(progress) if progress else None,
        verdict=Verdict(fields["verdict"]) if "verdict" in fields else None,
        cached="cached" in fields,
        result=VideoResult.model_validate_json(result) if result else None,
        error_code=fields.get("error_code"),
        error_message=fields.get("error_message"),
        webhook=_webhook(fields),
    )


def queued(new: NewJob) -> Job:
    """A job that was queued this moment, as reading it would tell."""
    return Job(
        id=new.id,
        fleet_uid=new.fleet_uid,
        tenant=new.tenant,
        state=JobState.QUEUED,
        request=new.request,
        priority=new.priority,
        deadline_ms=new.deadline_ms,
        created_at_ms=ids.created_ms_of(new.id),
        webhook=Webhook(url=new.webhook) if new.webhook else None,
    )


def fault(job: Job) -> str | None:
    """Why this version must not run the job; None when it can."""
    if job.request is UNREADABLE:
        return "Its request cannot be read; remove the job and submit it again."
    if (version := job.request.v) > PAYLOAD_VERSION:
        return (
            f"Its request has version {version}, the worker knows {PAYLOAD_VERSION}; upgrade workers, then replay it."
        )
    return None


def outcomes(counters: Mapping[str, str]) -> list[Outcomes]:
    """The counters of one fleet as rows, in the order of revision and tier."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for counter, value in sorted(counters.items()):
        revision, tier, what = counter.split("|")
        name, unit = _SUMS.get(what, (what, 1))
        rows.setdefault((revision, tier), {})[name] = int(value) / unit
    return [Outcomes(revision=revision, tier=tier, **row) for (revision, tier), row in rows.items()]


def beacon(row: str) -> WorkerBeacon:
    """The beacon in a `<ms> <json>` field."""
    at_ms, _, text = row.partition(" ")
    return WorkerBeacon.model_validate_json(text).model_copy(update={"at_ms": int(at_ms)})


def _request(text: str) -> VideoRequest:
    try:
        return VideoRequest.model_validate_json(text)
    except ValidationError:
        return UNREADABLE


def _webhook(fields: Mapping[str, str]) -> Webhook | None:
    if "webhook" not in fields:
        return None
    state = NoticeState(fields["notice_state"]) if "notice_state" in fields else None
    return Webhook(url=fields["webhook"], state=state, attempts=int(fields.get("notice_attempts", 0)))


def _tier(text: str | None) -> Tier | None:
    return None if text is None else Tier.model_validate_json(text)


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
