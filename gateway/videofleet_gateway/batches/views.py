"""A batch as OpenAI's Batch object shows it, with our own fields, and its results as lines. Pure."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from videofleet.jobs import Job, JobState
from videofleet.queue import Batch, BatchLine
from videofleet.queue.batches import KEPT_MS
from videofleet_gateway import views
from videofleet_gateway.batches.intake import ENDPOINT

_ERRORS_SHOWN: Final = 100  # the others are among the results


@dataclass(frozen=True)
class Standing:
    """How the lines of a batch stand."""

    counts: Counter[str]  # completed, failed, deleted, unfinished
    errors: tuple[BatchLine, ...]  # the first that are no job
    ended_ms: int  # of the last job that ended; 0 when none has

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return not self.counts["unfinished"]


def standing(lines: Sequence[BatchLine], endings: Sequence[tuple[JobState, int] | None]) -> Standing:
    """Of all lines, and the endings of those that are jobs, in the same order."""
    counts: Counter[str] = Counter()
    ended_ms = 0
    left = iter(endings)
    for line in lines:
        if line.error_code is not None:
            counts["failed"] += 1
        elif line.video_id is None:
            counts["unfinished"] += 1
        elif (ending := next(left)) is None:
            counts["deleted"] += 1
        else:
            state, at_ms = ending
            counts[_counted(state)] += 1
            ended_ms = max(ended_ms, at_ms)
    errors = tuple(line for line in lines if line.error_code is not None)
    return Standing(counts, errors[:_ERRORS_SHOWN], ended_ms)


def _counted(state: JobState) -> str:
    if not state.is_terminal:
        return "unfinished"
    return "completed" if state is JobState.SUCCEEDED else "failed"


def batch(found: Batch, stands: Standing) -> dict[str, Any]:
    """The batch object."""
    ended = None
    if stands.is_over:
        ended = max(stands.ended_ms, found.created_at_ms) // 1000
    cancelled = found.cancelled_at_ms
    return {
        "id": found.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "status": _status(found, stands),
        "created_at": found.created_at_ms // 1000,
        "expires_at": (found.created_at_ms + KEPT_MS) // 1000,
        "completed_at": ended if cancelled is None else None,
        "cancelling_at": None if cancelled is None else cancelled // 1000,
        "cancelled_at": None if cancelled is None else ended,
        "request_counts": {
            "total": found.total,
            "completed": stands.counts["completed"],
            "failed": stands.counts["failed"],
            "deleted": stands.counts["deleted"],
        },
        "errors": _errors(stands.errors),
        "results": f"/v1/batches/{found.id}/results",
    }


def _status(found: Batch, stands: Standing) -> str:
    if found.cancelled_at_ms is not None:
        return "cancelled" if stands.is_over else "cancelling"
    return "completed" if stands.is_over else "in_progress"


def _errors(lines: Sequence[BatchLine]) -> dict[str, Any] | None:
    if not lines:
        return None
    data = [
        {"line": each.number, "code": each.error_code, "message": each.error_message, "param": each.error_param}
        for each in lines
    ]
    return {"object": "list", "data": data}


def result(line: BatchLine, job: Job | None) -> bytes:
    """One line of the results. `status` is a video's, or `deleted`."""
    status: str = "queued"
    error: Mapping[str, str | None] | None = None
    if line.error_code is not None:
        status, error = "failed", {"code": line.error_code, "message": line.error_message}
    elif line.video_id is not None:
        status, error = (views.status(job), views.error(job)) if job else ("deleted", None)
    content = f"/v1/videos/{line.video_id}/content" if status == "completed" else None
    said = {
        "line": line.number,
        "custom_id": line.custom_id,
        "id": line.video_id,
        "status": status,
        "error": error,
        "content_url": content,
        "thumbnail_url": f"{content}?variant=thumbnail" if content else None,
    }
    return json.dumps(said).encode() + b"\n"
