"""JobQueue: the whole queue as typed calls. Each method is one Lua script or one read.

Every method raises `QueueUnavailable` when Redis does not answer; the other errors stand at each method.
"""

from dataclasses import dataclass
from typing import Self

from videofleet.beacons import WorkerBeacon
from videofleet.jobs import Claim, ErrorCode, Job, JobState, NewJob, Progress, QueueStats, VideoResult
from videofleet.policy import FleetPolicy


@dataclass(frozen=True)
class Submitted:
    """`created` is False when the Idempotency-Key had named this very job before."""

    job: Job
    created: bool


@dataclass(frozen=True)
class BeatReply:
    """What a worker learns from a beat: go on, or stop because somebody cancelled."""

    cancel_requested: bool


class JobQueue:
    """One installation's queue, over one Redis connection pool. An async context manager that closes the pool."""

    @classmethod
    def connect(cls, url: str, installation: str) -> Self:
        """A queue on `redis://` or `rediss://`; connects at first use and reconnects by itself."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the pool."""

    async def check_durability(self) -> None:
        """Raises `QueueError` unless Redis keeps what it acknowledges: append-only file on, no eviction."""
        raise NotImplementedError

    # operator
    async def publish_policy(self, policy: FleetPolicy) -> None:
        """Replaces the fleet's policy and lists the fleet; acts on the next submit and claim."""
        raise NotImplementedError

    async def close_fleet(self, fleet_uid: str, code: ErrorCode) -> list[str]:
        """Closes a fleet for good: waiting jobs are cancelled with `code`, running ones asked to stop.

        Returns: ids of the jobs cancelled at once. Calling it again changes nothing.
        """
        raise NotImplementedError

    async def fleets(self) -> dict[str, str]:
        """Every fleet ever published: UID → namespace/name; closed ones too."""
        raise NotImplementedError

    async def policy(self, fleet_uid: str) -> FleetPolicy | None:
        """The last published policy; `closed` is set once the fleet is."""
        raise NotImplementedError

    async def stats(self, fleet_uid: str) -> QueueStats:
        """Waiting, running and the oldest wait, from one snapshot."""
        raise NotImplementedError

    async def beacons(self, fleet_uid: str) -> list[WorkerBeacon]:
        """Beacons of the last 30 s, by worker name."""
        raise NotImplementedError

    # gateway
    async def submit(self, job: NewJob) -> Submitted:
        """Queues a job. Raises: QueueFull, FleetUnknown, FleetClosed, IdempotencyConflict."""
        raise NotImplementedError

    async def get(self, job_id: str) -> Job:
        """Raises: JobNotFound."""
        raise NotImplementedError

    async def page(
        self, fleet_uids: list[str], tenant: str, *, after: str | None, limit: int, newest_first: bool
    ) -> list[Job]:
        """A tenant's jobs over these fleets by creation time, beginning behind the job `after`."""
        raise NotImplementedError

    async def cancel(self, job_id: str, code: ErrorCode) -> Job:
        """Cancels a waiting job at once; asks a running one to stop; leaves a finished one alone. Raises: JobNotFound."""
        raise NotImplementedError

    async def remove(self, job_id: str) -> Job:
        """Forgets a finished job and returns what it was. Raises: JobNotFound, JobNotFinished."""
        raise NotImplementedError

    async def reap(self, fleet_uid: str) -> list[str]:
        """Returns expired leases to the queue, or ends them as dead or cancelled. Returns: the ids touched."""
        raise NotImplementedError

    # worker
    async def claim(self, fleet_uid: str, *, worker: str, revision: str) -> Claim | None:
        """The next job for a worker of this revision, or None. Expired leases are reaped first."""
        raise NotImplementedError

    async def beat(self, claim: Claim, progress: Progress) -> BeatReply:
        """Extends the lease and takes progress in. Raises: LeaseLost."""
        raise NotImplementedError

    async def succeed(self, claim: Claim, result: VideoResult) -> JobState:
        """Commits the result once. Returns: succeeded, or cancelled if that was asked for first. Raises: LeaseLost."""
        raise NotImplementedError

    async def fail(self, claim: Claim, code: ErrorCode, message: str, *, retry: bool) -> JobState:
        """Ends the attempt: back to queued while attempts are left and `retry`, else failed or dead. Raises: LeaseLost."""
        raise NotImplementedError

    async def give_back(self, claim: Claim) -> JobState:
        """Returns the job to the head of the queue without spending the attempt (drain). Raises: LeaseLost."""
        raise NotImplementedError

    async def cancelled(self, claim: Claim) -> None:
        """The worker has stopped as asked: the job is cancelled. Raises: LeaseLost."""
        raise NotImplementedError

    async def put_beacon(self, fleet_uid: str, beacon: WorkerBeacon) -> None:
        """Stores a worker's beacon, stamped with Redis' time."""
        raise NotImplementedError

    async def drop_beacon(self, fleet_uid: str, worker: str) -> None:
        """A worker leaves in good order."""
        raise NotImplementedError
