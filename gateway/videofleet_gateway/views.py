"""A job as the OpenAI Videos API shows it. Pure.

Four statuses on the wire: `cancelled` and `dead` are `failed` with `error.code`. The prompt is shown to its owner in
single replies only, never in listings.
"""

from collections.abc import Mapping
from typing import Any, Final

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet_gateway.auth import Caller
from videofleet_gateway.tier_choice import spoken_seconds

_STATUS: Final = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
    JobState.DEAD: "failed",
}
_USAGE: Final = {state: _STATUS[state] for state in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)} | {
    state: str(state) for state in (JobState.FAILED, JobState.CANCELLED, JobState.DEAD)
}
_FALLBACK_ERROR: Final = {
    JobState.FAILED: (ErrorCode.GENERATION_FAILED, "the video could not be made"),
    JobState.CANCELLED: (ErrorCode.CANCELLED_BY_USER, "the job was cancelled"),
    JobState.DEAD: (ErrorCode.ATTEMPTS_EXHAUSTED, "every attempt failed; submit it again"),
}


def status(job: Job) -> str:
    """The wire's word for the job's state."""
    return _STATUS[job.state]


def video(job: Job, model: str, expires_at_ms: int | None = None, *, with_prompt: bool) -> dict[str, Any]:
    """The video object: OpenAI's fields, then ours. `tier`, `size` and `seconds` are what is delivered."""
    tier = job.result.tier if job.result else job.tier
    shown = {
        "id": job.id,
        "object": "video",
        "model": model,
        "status": status(job),
        "progress": _progress(job),
        "created_at": job.created_at_ms // 1000,
        "completed_at": None if job.finished_at_ms is None else job.finished_at_ms // 1000,
        "expires_at": None if expires_at_ms is None else expires_at_ms // 1000,
        "size": tier.size,
        "seconds": spoken_seconds(tier),
        "error": error(job),
        "tier": tier.name,
        "requested_tier": job.request.tier.name,
        "fallback": job.fallback,
        "priority": job.priority,
        "deadline": None if job.deadline_ms is None else job.deadline_ms // 1000,
        "seed": job.request.seed,
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested,
        "webhook": _webhook(job),
        "cached": job.cached,
    }
    return shown | {"prompt": job.request.prompt} if with_prompt else shown


def _progress(job: Job) -> int:
    if job.state is JobState.SUCCEEDED:
        return 100
    return job.progress.percent if job.progress else 0


def error(job: Job) -> dict[str, str] | None:
    """Why there is no video; None while there may be one."""
    fallback = _FALLBACK_ERROR.get(job.state)
    if fallback is None:
        return None
    code, message = fallback
    return {"code": job.error_code or code, "message": job.error_message or message}


def _webhook(job: Job) -> dict[str, Any] | None:
    if job.webhook is None:
        return None
    return {"url": job.webhook.url, "status": job.webhook.state, "attempts": job.webhook.attempts}


def video_list(videos: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """One page of video objects."""
    return {
        "object": "list",
        "data": videos,
        "first_id": videos[0]["id"] if videos else None,
        "last_id": videos[-1]["id"] if videos else None,
        "has_more": has_more,
    }


def usage(jobs: Mapping[str, int], worker_seconds: float, caller: Caller) -> dict[str, Any]:
    """Who asks, what its tenant has, by state, and what it may."""
    return {
        "object": "usage",
        "tenant": caller.tenant,
        "role": "admin" if caller.is_admin else "user",
        "key_expires_at": None if caller.key_expires is None else int(caller.key_expires.timestamp()),
        "jobs": {spelled: jobs.get(state, 0) for state, spelled in _USAGE.items()},
        "worker_seconds": round(worker_seconds, 3),
        "limits": {
            "requests_per_minute": caller.rules.requests_per_minute,
            "queued_jobs": caller.rules.max_queued_jobs,
            "unfinished_jobs": caller.rules.max_unfinished_jobs,
            "running_jobs": caller.rules.max_running_jobs,
            "worker_seconds_per_day": caller.rules.worker_seconds_per_day,
        },
    }
