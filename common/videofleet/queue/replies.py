"""What calls of the queue answer."""

from dataclasses import dataclass

from videofleet.jobs import Claim, Job


@dataclass(frozen=True)
class Submitted:
    """`created` is False when the Idempotency-Key had named this very job before."""

    job: Job
    created: bool


@dataclass(frozen=True)
class Claimed:
    """Jobs of one batch, or none. `is_marked`: the operator wants this worker to go; there is nothing for it."""

    claims: list[Claim]
    is_marked: bool


@dataclass(frozen=True)
class BeatReply:
    """What a worker learns from a beat: go on, stop because somebody cancelled, or make room and go on later."""

    cancel_requested: bool
    yield_requested: bool
