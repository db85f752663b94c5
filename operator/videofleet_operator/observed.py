"""What was seen of one fleet, frozen: everything that planning knows about the world.

`queue` is None while Redis does not answer: nothing is known then, and nothing that is known is taken as
zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videofleet.beacons import WorkerBeacon
from videofleet.feedback import Feedback
from videofleet.jobs import Outcomes, QueueStats
from videofleet.policy import FleetPolicy
from videofleet_operator.plan.memory import Memory


@dataclass(frozen=True)
class FleetSeen:
    """The VideoGenerator."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Any  # as stored: parsing it is planning
    status: dict[str, Any]
    is_paused: bool = False  # by annotation: hands off
    command: str | None = None  # by annotation: what a person asks of the rollout

    @property
    def key(self) -> tuple[str, str]:
        """namespace, name."""
        return self.namespace, self.name

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class RevisionSeen:
    """A ControllerRevision of the fleet."""

    revision: str  # hash
    number: int  # order of creation
    data: Any


@dataclass(frozen=True)
class DeploymentSeen:
    """The Deployment of a revision."""

    revision: str
    is_stable: bool  # carries the track label
    wanted: int  # spec.replicas
    existing: int  # status.replicas
    ready: int
    refusal: str | None = None  # message of the ReplicaFailure condition
    late: str | None = None  # message of Progressing=False, ProgressDeadlineExceeded


@dataclass(frozen=True)
class PodSeen:
    """A worker pod."""

    name: str
    revision: str
    is_ready: bool
    is_terminating: bool = False
    unschedulable: str | None = None  # the scheduler's words
    waiting_reason: str | None = None
    waiting_message: str = ""
    exit_reason: str | None = None  # of the last container that ended: OOMKilled, Error, …
    exit_code: int | None = None
    termination_message: str = ""
    mount_failure: str | None = None  # message of the latest FailedMount event while it cannot start
    made_s: float = 0.0  # when, seconds since the epoch
    is_costed: bool = False  # carries the deletion cost of a scale-down


@dataclass(frozen=True)
class QueueSeen:
    """The fleet in Redis."""

    stats: QueueStats
    beacons: tuple[WorkerBeacon, ...]
    policy: FleetPolicy | None  # as last published
    outcomes: tuple[Outcomes, ...] = ()
    opinions: tuple[Feedback, ...] = ()  # what users said of the videos


@dataclass(frozen=True)
class Measure:
    """The latest answers to one query of `analysis.metrics[]`."""

    name: str
    recent: tuple[float | None, ...]  # the last three at most, the latest last; None: it was no number
    why_not: str = ""  # why the latest is none


@dataclass(frozen=True)
class Observed:
    """One fleet and its children."""

    fleet: FleetSeen
    revisions: tuple[RevisionSeen, ...] = ()
    deployments: tuple[DeploymentSeen, ...] = ()
    config_maps: frozenset[str] = frozenset()  # names
    disruption_budgets: frozenset[str] = frozenset()  # names
    fleet_children: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # what it has once, by kind
    pods: tuple[PodSeen, ...] = ()
    decoders: tuple[DeploymentSeen, ...] = ()  # Deployments of decoders
    decoder_pods: tuple[PodSeen, ...] = ()
    queue: QueueSeen | None = None
    measures: tuple[Measure, ...] = ()
    memory: Memory | None = None  # what the last plan remembered; None after a restart

    def deployment(self, revision: str | None) -> DeploymentSeen | None:
        """The Deployment of a revision."""
        return next((seen for seen in self.deployments if seen.revision == revision), None)

    def decoder(self, revision: str) -> DeploymentSeen | None:
        """The Deployment of a revision's decoders."""
        return next((seen for seen in self.decoders if seen.revision == revision), None)

    def ready(self, revision: str | None) -> int:
        """Warm workers of a revision: ready pods that are not on their way out."""
        return sum(pod.is_ready and not pod.is_terminating for pod in self.pods if pod.revision == revision)
