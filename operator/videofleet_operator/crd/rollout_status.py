"""`status.rollout`: what people read of a rollout, and all that it remembers from one reconcile to the next.

Evidence is in whole thousandths, because a CRD has no floats; rounding is always against the claim that it supports.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from videofleet_operator.crd.comparison import Comparison
from videofleet_operator.crd.values import SpecModel

REJECTED_LIMIT: Final = 5
_TIME: Final = 32
_REVISION: Final = 10
_COUNT: Final = 2**53
_NATS: Final = 10_000_000
VERDICT_MAX: Final = 512


class Phase(StrEnum):
    """Where a rollout stands."""

    SETTLED = "Settled"  # the revision that the spec asks for serves
    WARMING_UP = "WarmingUp"  # the canary has no warm worker yet, and no jobs
    PROVING = "Proving"  # it renders the golden prompts, and no other jobs
    STEPPING = "Stepping"  # it has its share of the jobs
    PAUSED = "Paused"  # it keeps its share; a person or more evidence goes on
    PROMOTING = "Promoting"  # it is good; its workers replace stable's
    REJECTED = "Rejected"  # stable serves; the spec still names the rejected one
    UNDONE = "Undone"  # a person, or the rule of the standby, went back; the spec names another one


class PauseCause(StrEnum):
    """Why it does not go on by itself."""

    COMMAND = "Command"
    MANUAL_GATE = "ManualGate"
    INSUFFICIENT_EVIDENCE = "InsufficientEvidence"


class Seen(SpecModel):
    """A revision's counters at the last look."""

    attempts: int = Field(ge=0, le=_COUNT, description="Attempts that ended in a video or by a fault.")
    failures: int = Field(ge=0, le=_COUNT, description="Of those: by a fault.")
    rejected: int = Field(ge=0, le=_COUNT, description="Of those: the output check refused the video.")
    timed: int = Field(ge=0, le=_COUNT, description="Videos whose seconds per step are known.")
    slow: int = Field(ge=0, le=_COUNT, description="Of those: slow ones.")
    measured: int = Field(default=0, ge=0, le=_COUNT, description="Videos whose GPU memory is known.")
    weighed: int = Field(default=0, ge=0, le=_COUNT, description="Of those: compared with stable's mean.")
    hungry: int = Field(default=0, ge=0, le=_COUNT, description="Of those: needed too much.")
    recoveries: int = Field(default=0, ge=0, le=_COUNT, description="Workers that broke and are warm again.")
    slow_recoveries: int = Field(default=0, ge=0, le=_COUNT, description="Of those: after too long.")


class MetricEvidence(SpecModel):
    """What a metric has shown since the canary got its first jobs."""

    name: str = Field(max_length=32, description="errorRate, rejectedRate, secondsPerStep, gpuMemory or recoveryTime.")
    canary: int = Field(ge=0, le=_COUNT, description="Jobs of the canary that it is about.")
    canary_bad: int = Field(ge=0, le=_COUNT, description="Of those: bad ones.")
    stable: int = Field(ge=0, le=_COUNT, description="Jobs of stable over the same period.")
    stable_bad: int = Field(ge=0, le=_COUNT, description="Of those: bad ones.")
    worse: list[Annotated[int, Field(ge=-_NATS, le=_NATS)]] = Field(
        max_length=8, description="Evidence that it is worse, one figure an alternative, in thousandths of a nat."
    )
    good: int = Field(ge=-_NATS, le=_NATS, description="Evidence that it is good enough, in thousandths of a nat.")
    proof: int = Field(ge=0, le=_NATS, description="The most that `good` has ever been; enough once is enough.")


class Evidence(SpecModel):
    """The analysis so far."""

    looked: str = Field(max_length=_TIME, description="When the counters were last taken in.")
    canary_seen: Seen = Field(description="The canary's counters then.")
    stable_seen: Seen = Field(description="Stable's counters then.")
    step_began: int = Field(ge=0, le=_COUNT, description="Attempts of the canary when the step began.")
    metrics: list[MetricEvidence] = Field(max_length=8, description="Each metric.")


class Rejection(SpecModel):
    """A revision that was turned down."""

    revision: str = Field(max_length=_REVISION, description="Which.")
    message: str = Field(max_length=VERDICT_MAX, description="Why.")
    at: str = Field(max_length=_TIME, description="When.")
    stands: bool = Field(description="Whether it still holds: until the spec names another one, or `retry`.")


class Undo(SpecModel):
    """A person, or the standby's rule, went back to a kept revision; void as soon as the spec names another one."""

    revision: str = Field(max_length=_REVISION, description="The one that serves.")
    instead: str = Field(max_length=_REVISION, description="The one that the spec names.")
    failed: str | None = Field(
        default=None, max_length=_REVISION, description="The one that failed, when the standby took over by itself."
    )
    cause: str | None = Field(default=None, max_length=VERDICT_MAX, description="How it failed.")


class LastCommand(SpecModel):
    """The last value of the annotation videofleet.dev/rollout that was handled."""

    text: str = Field(max_length=128, description="As it was given.")
    at: str = Field(max_length=_TIME, description="When.")
    outcome: str = Field(max_length=VERDICT_MAX, description="What came of it.")


class RolloutStatus(SpecModel):
    """The rollout."""

    phase: Phase = Field(description="Where it stands.")
    stable_revision: str | None = Field(default=None, max_length=_REVISION, description="The one that is proven.")
    canary_revision: str | None = Field(default=None, max_length=_REVISION, description="The one on trial.")
    standby_revision: str | None = Field(
        default=None, max_length=_REVISION, description="The one that was stable before, until it was used."
    )
    step: int = Field(default=0, ge=0, le=10, description="Which step of spec.rollout.steps, from 1; 0 when none.")
    workers: int = Field(default=0, ge=0, le=100_000, description="Workers that both tracks are to have together.")
    is_in_place: bool = Field(
        default=False, description="Whether no GPU was free, so that workers are swapped in place."
    )
    weight: str | None = Field(default=None, max_length=6, description="Share of the jobs that the canary gets now.")
    since: str | None = Field(default=None, max_length=_TIME, description="When this step began.")
    paused: PauseCause | None = Field(default=None, description="Why it does not go on by itself.")
    is_approved: bool = Field(default=False, description="Whether a person has opened the gate behind this step.")
    verdict: str | None = Field(default=None, max_length=VERDICT_MAX, description="What the evidence says, in words.")
    samples: int = Field(default=0, ge=0, le=_COUNT, description="Attempts of the canary so far.")
    eta: str | None = Field(default=None, max_length=_TIME, description="When this step has its evidence, about.")
    evidence: Evidence | None = Field(default=None, description="The analysis so far.")
    comparison: Comparison | None = Field(default=None, description="The A/B report of the latest trial.")
    rejected: list[Rejection] = Field(default=[], max_length=REJECTED_LIMIT, description="Latest last.")
    undo: Undo | None = Field(default=None, description="Set by `undo`, or by a switch to the standby.")
    last_command: LastCommand | None = Field(default=None, description="The last command that was handled.")

    @property
    def is_proving(self) -> bool:
        """Whether the canary has golden prompts to render before its first step, paused or not."""
        return self.phase == Phase.PROVING or (self.phase == Phase.PAUSED and self.step == 0)
