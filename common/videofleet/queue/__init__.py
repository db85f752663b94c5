"""The job queue: every transition is one Lua script over one fleet's keys, timed by Redis' clock.

The only package that imports redis. Promise: at-least-once execution, observed once; a zombie's write is refused.
"""

from videofleet.queue.batches import Batch, Batches, BatchLine, batch_id
from videofleet.queue.client import JobQueue
from videofleet.queue.decodes import Decoded, DecodeOrder, TakenOrder
from videofleet.queue.durability import Durability, Persistence
from videofleet.queue.errors import (
    BatchNotFound,
    ErasedMeanwhile,
    FleetClosed,
    FleetUnknown,
    IdempotencyConflict,
    JobNotDead,
    JobNotFinished,
    JobNotFound,
    LeaseLost,
    Limit,
    LimitReached,
    QueueError,
    QueueFull,
    QueueUnavailable,
    StaleEpoch,
)
from videofleet.queue.leaving import Leaving, Owed
from videofleet.queue.limits import TenantLimits
from videofleet.queue.outbox import Notice, Outbox, Settled
from videofleet.queue.replies import BeatReply, Claimed, Submitted

__all__ = [
    "Batch",
    "BatchLine",
    "BatchNotFound",
    "Batches",
    "BeatReply",
    "Claimed",
    "DecodeOrder",
    "Decoded",
    "Durability",
    "ErasedMeanwhile",
    "FleetClosed",
    "FleetUnknown",
    "IdempotencyConflict",
    "JobNotDead",
    "JobNotFinished",
    "JobNotFound",
    "JobQueue",
    "LeaseLost",
    "Leaving",
    "Limit",
    "LimitReached",
    "Notice",
    "Outbox",
    "Owed",
    "Persistence",
    "QueueError",
    "QueueFull",
    "QueueUnavailable",
    "Settled",
    "StaleEpoch",
    "Submitted",
    "TakenOrder",
    "TenantLimits",
    "batch_id",
]
