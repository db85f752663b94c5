"""What a fleet on paper is made of, and what is counted of it. No behaviour: the engine moves these."""

from dataclasses import dataclass, field

from videofleet_cli.simulator.workload import Job


@dataclass(frozen=True)
class World:
    """What the fleet runs on."""

    max_pods: int  # quota: GPUs ÷ GPUs of a worker; terminating ones count
    cold_start_s: float = 180.0
    cold_start_spread: float = 0.15  # of the cold start, either way
    grace_s: float = 1800.0  # what a pod may take to end
    mtbf_s: float | None = None  # of a worker; None: none ever fails
    rollouts_s: tuple[
        float, ...
    ] = ()  # when a new revision is applied, after the first job; none while one is under way
    seed: int = 1


@dataclass(slots=True)
class Worker:
    """A pod."""

    name: int
    made_s: float
    ready_s: float
    revision: int = 0
    is_ready: bool = False
    is_marked: bool = False
    is_costed: bool = False  # carries the deletion cost
    is_terminating: bool = False
    job: Job | None = None
    ends_s: float = 0.0
    started_s: float = 0.0


@dataclass(slots=True)
class Ran:
    """What became of one job."""

    job: Job
    wait_s: float
    quality: float  # share of the work it asked for that was done
    priority: int


@dataclass
class Account:
    """What is counted."""

    ran: list[Ran] = field(default_factory=list)
    pod_s: float = 0.0
    busy_s: float = 0.0
    killed: int = 0  # jobs that lost an attempt because their pod was taken away
    crashed: int = 0
    moves: list[float] = field(default_factory=list)  # when the fallback changed
    degraded_s: float = 0.0  # for how long a fallback was in force
    scalings: int = 0
    most_pods: int = 0
    rollouts_took_s: list[float] = field(default_factory=list)
    pods_over_time: list[tuple[float, int]] = field(default_factory=list)
