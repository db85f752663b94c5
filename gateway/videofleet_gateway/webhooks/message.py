"""What a webhook says, in the form of Standard Webhooks 1.0 and with the fields of OpenAI's events. Pure.

The body holds the video object without its prompt; it is signed exactly as it is sent, by every secret of the tenant.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from standardwebhooks import Webhook

from videofleet.jobs import Job, JobState
from videofleet_gateway import views

COMPLETED: Final = "video.completed"
FAILED: Final = "video.failed"


def body(notice_id: str, job: Job, model: str) -> str:
    """The JSON that is sent, the same in every attempt."""
    ended = datetime.fromtimestamp((job.finished_at_ms or job.created_at_ms) / 1000, UTC)
    said: dict[str, Any] = {
        "id": notice_id,
        "object": "event",
        "type": COMPLETED if job.state is JobState.SUCCEEDED else FAILED,
        "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "created_at": int(ended.timestamp()),
        "data": {key: value for key, value in views.video(job, model, with_prompt=False).items() if key != "webhook"},
    }
    return json.dumps(said, separators=(",", ":"))


def headers(notice_id: str, text: str, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """Id, timestamp and one signature a secret."""
    signatures = [Webhook(secret).sign(notice_id, now, text) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "VideoFleet-Webhooks",
        "webhook-id": notice_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
