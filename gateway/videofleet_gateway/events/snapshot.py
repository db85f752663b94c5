"""What a listener is told of a job, and how it looks on the wire. Pure.

Level-triggered: an event is the job as it stands, its id is what of it matters. Whoever resumes with the id of the
present state has missed nothing; whoever resumes with another gets the present state, which includes all before it.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from videofleet.jobs import Job
from videofleet_gateway import views

HEARTBEAT: Final = b": still here\n\n"
RETRY: Final = b"retry: 1000\n\n"


@dataclass(frozen=True)
class Snapshot:
    """A job and, while it waits, its place. `job` is None once the record was deleted."""

    job: Job | None
    ahead: int | None = None
    eta_s: float | None = None
    expires_at_ms: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing will follow."""
        return self.job is None or self.job.state.is_terminal

    @property
    def event_id(self) -> str:
        """Changes exactly when a listener has something new to hear."""
        if self.job is None:
            return "deleted"
        done, stop = self.job.progress, "-stopping" if self.job.cancel_requested else ""
        place = f"{done.stage}-{done.step}" if done else ("" if self.ahead is None else str(self.ahead))
        return f"{self.job.attempt}-{self.job.state}-{place}{stop}"


def event(snapshot: Snapshot, model: str) -> bytes:
    """The event: `queued`, `progress`, `done` or `deleted`, its data one JSON object."""
    name, data = _name(snapshot), _data(snapshot, model)
    return f"event: {name}\nid: {snapshot.event_id}\ndata: {json.dumps(data)}\n\n".encode()


def _name(snapshot: Snapshot) -> str:
    if snapshot.job is None:
        return "deleted"
    if snapshot.is_last:
        return "done"
    return "queued" if views.status(snapshot.job) == "queued" else "progress"


def _data(snapshot: Snapshot, model: str) -> dict[str, Any]:
    job = snapshot.job
    if job is None:
        return {}
    data = views.video(job, model, snapshot.expires_at_ms, with_prompt=False)
    if snapshot.is_last:
        return data
    data["eta_s"] = snapshot.eta_s
    if _name(snapshot) == "queued":
        return data | {"position": None if snapshot.ahead is None else snapshot.ahead + 1}
    progress = job.progress
    return data | {
        "stage": progress.stage if progress else "starting",
        "step": progress.step if progress else 0,
        "steps": progress.steps if progress else 0,
    }
