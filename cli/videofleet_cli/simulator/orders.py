"""What an autoscaler sees of the fleet on paper, and what it may ask for. Every one sees the same."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A pod that is not on its way out."""

    name: int
    is_ready: bool
    is_idle: bool
    is_marked: bool
    is_costed: bool
    made_s: float
    is_new: bool = False  # of the revision on trial


@dataclass(frozen=True, slots=True)
class View:
    """The fleet at one moment."""

    waiting: tuple[int, ...]  # jobs by priority
    waiting_s_by_priority: tuple[float, ...]  # service seconds
    oldest_wait_s: float
    running: int
    running_s: float  # left
    arrived_s: float  # service seconds ever
    wanted: int
    workers: tuple[WorkerView, ...]
    is_short: bool  # a pod of the revision that serves finds no place
    is_trial: bool = False  # a new revision is asked for and not promoted yet
    trial_is_short: bool = False  # a pod of that one finds no place
    trial_done: int = 0  # jobs that it has finished
    leaving: int = 0  # pods on their way out

    @property
    def waiting_s(self) -> float:
        """Service seconds that wait."""
        return sum(self.waiting_s_by_priority)


@dataclass(frozen=True, slots=True)
class DegradeRule:
    """A fallback rule: what a degraded job costs, how many are, of which priorities."""

    scale: float  # of the work of the best tier
    share: float
    priorities: frozenset[int]


@dataclass(frozen=True, slots=True)
class Tracks:
    """What a new revision is to have beside the one that serves."""

    canary: int  # workers
    weight: int  # thousandths of the jobs
    is_promoted: bool = False  # it serves from now on, and the other one goes


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be from now on."""

    wanted: int  # of the revision that serves
    marks: frozenset[int] = frozenset()
    costed: frozenset[int] = frozenset()
    degrade: DegradeRule | None = None
    again_s: float | None = None  # look again then, instead of after `every_s`
    tracks: Tracks | None = None  # None: a new revision is brought out by the Deployment's rolling update


class Autoscaler(Protocol):
    """Anything that decides how many workers there are."""

    name: str
    every_s: float  # between two looks

    def look(self, view: View, now_s: float) -> Orders:
        """What is to be now."""
