"""The queue's errors.

QueueError
├── QueueUnavailable     Redis does not answer, or no replica confirms in time: retry later
├── StaleEpoch           a later leader has published: step down
├── QueueFull            the fleet's maxDepth is reached: retry later
├── LimitReached         the tenant has, over all fleets, what it may have: retry later
├── FleetUnknown         no policy was ever published for it
├── FleetClosed          its VideoGenerator was deleted
├── ErasedMeanwhile      a tenant was erased since the caller read what it submits: read it again
├── IdempotencyConflict  the key was used with another body
├── JobNotFound
├── BatchNotFound
├── JobNotFinished       a finished job was asked for, this one is not
├── JobNotDead           only dead jobs are replayed
└── LeaseLost            the token is not valid any more: drop the attempt, another worker has the job
"""

from enum import StrEnum


class QueueError(Exception):
    """Anything the queue refuses."""


class QueueUnavailable(QueueError):
    """Redis does not answer; nothing is known about the call's outcome."""


class StaleEpoch(QueueError):
    """The policy in force is of a later epoch; nothing was changed."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(f"the policy in force is of epoch {epoch}, which is later")


class QueueFull(QueueError):
    """The fleet has as many waiting jobs as spec.queue.maxDepth allows."""

    def __init__(self, max_depth: int) -> None:
        self.max_depth = max_depth
        super().__init__(f"{max_depth} jobs are waiting, the most this fleet allows (spec.queue.maxDepth)")


class Limit(StrEnum):
    """What a tenant may have over all fleets."""

    QUEUED = "queued"
    UNFINISHED = "unfinished"
    SECONDS = "seconds"


class LimitReached(QueueError):
    """The tenant has what it may have."""

    def __init__(self, limit: Limit, most: int, day_left_s: int) -> None:
        self.limit = limit
        self.most = most
        self.day_left_s = day_left_s  # until midnight UTC, by Redis' clock
        super().__init__(f"the tenant may have {most} {limit}")


class FleetUnknown(QueueError):
    """No policy was published for this fleet."""


class FleetClosed(QueueError):
    """The fleet takes no more jobs."""


class ErasedMeanwhile(QueueError):
    """A tenant was erased from the fleet since the caller asked for `Leaving.erasures`; nothing was queued."""


class IdempotencyConflict(QueueError):
    """The Idempotency-Key was used before with a different request."""


class JobNotFound(QueueError):
    """No such job, or it was removed."""


class BatchNotFound(QueueError):
    """No such batch of this tenant."""


class JobNotFinished(QueueError):
    """The job is still queued or running."""


class JobNotDead(QueueError):
    """The job did not run out of attempts."""


class LeaseLost(QueueError):
    """The lease ended, the job was finished by another attempt, or it is gone."""
