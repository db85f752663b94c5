"""`status` of a VideoGenerator: what people, kstatus and GitOps tools read. Written only by the operator.

Conditions follow kstatus: Ready, Progressing, Degraded, Stalled, each with observedGeneration, a reason of
the closed list in `videofleet_operator.reasons`, and a message that says what to do.
"""

from typing import Literal

from pydantic import Field

from videofleet_operator.crd.fallback_status import FallbackStatus
from videofleet_operator.crd.rollout_status import RolloutStatus
from videofleet_operator.crd.scaling_status import ScalingStatus
from videofleet_operator.crd.values import SpecModel

MESSAGE_MAX = 1024


class Condition(SpecModel):
    """One aspect of the fleet's health."""

    type: str = Field(max_length=63, description="Ready, Progressing, Degraded, Stalled or FallbackActive.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=63, description="One word of the closed list in docs/reference/crd.md.")
    message: str = Field(max_length=MESSAGE_MAX, description="What is the matter and what to do.")
    last_transition_time: str = Field(max_length=32, description="When `status` last changed.")
    observed_generation: int = Field(ge=0, le=2**53, description="The generation it speaks of.")


class QueueFigures(SpecModel):
    """Figures of the queue, rounded; live values are metrics and `videofleet status`."""

    waiting: int = Field(ge=0, le=2**53, description="Jobs waiting, rounded to two digits.")
    running: int = Field(ge=0, le=2**53, description="Jobs running.")
    wait: str = Field(max_length=16, description="How long the oldest job has waited, rounded: 0s, 45s, 3m.")
    updated: str = Field(max_length=32, description="When they were read; at most every 30 s.")


class Revisions(SpecModel):
    """Which revision serves and which is on its way."""

    stable: str | None = Field(default=None, max_length=10, description="The one that serves.")
    target: str | None = Field(default=None, max_length=10, description="The one that spec asks for.")


class Decoders(SpecModel):
    """The pods of `spec.worker.decode`, of every revision."""

    replicas: int = Field(ge=0, le=100_000, description="Wanted or still there.")
    ready: int = Field(ge=0, le=100_000, description="Warm.")
    message: str | None = Field(
        default=None, max_length=1024, description="What keeps decoders from being warm; workers decode meanwhile."
    )


class FleetStatus(SpecModel):
    """What the operator last saw."""

    observed_generation: int = Field(ge=0, le=2**53, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        max_length=8,
        description="Ready, Progressing, Degraded, Stalled, FallbackActive.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    replicas: int = Field(ge=0, le=100_000, description="Workers wanted or still there, of every revision.")
    ready_replicas: int = Field(ge=0, le=100_000, description="Warm workers.")
    decoders: Decoders | None = Field(default=None, description="Present while there are any, or shall be.")
    revisions: Revisions = Field(description="Which revision serves and which is on its way.")
    scaling: ScalingStatus | None = Field(default=None, description="How many workers scaling wants, and why.")
    fallback: FallbackStatus | None = Field(default=None, description="Which lower tier load brings, and to whom.")
    rollout: RolloutStatus | None = Field(default=None, description="How a new revision takes over.")
    queue: QueueFigures | None = Field(default=None, description="Absent while Redis cannot be reached.")
