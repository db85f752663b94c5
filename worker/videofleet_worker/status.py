"""What the worker would answer if asked how it is: one value, read by probes, metrics and beacon.

Only the supervisor's event loop touches it, so it needs no lock.
"""

import asyncio

from videofleet.beacons import TierTiming, WorkerBeacon, WorkerState
from videofleet.tiers import Tier
from videofleet_worker.faults import Fault


class Status:
    """The worker's state of the moment."""

    def __init__(self, worker: str, revision: str) -> None:
        self._worker = worker
        self._revision = revision
        self._state = WorkerState.LOADING
        self._detail = "starting"
        self._is_marked = False
        self._hindrance: Fault | None = None
        self.fault: Fault | None = None
        self.note = ""  # for people, while it serves
        self.warmed: dict[str, TierTiming] = {}
        self.jobs: tuple[str, ...] = ()  # those in compute
        self.changed = asyncio.Event()  # set at each change; the beacon clears it

    @property
    def state(self) -> WorkerState:
        """Where the worker is in its life."""
        return WorkerState.DRAINING if self._is_spared else self._state

    @property
    def detail(self) -> str:
        """More of it, for people."""
        return "for scale-down; it serves again if the mark lapses" if self._is_spared else self._detail

    def enter(self, state: WorkerState, detail: str, hindrance: Fault | None = None) -> None:
        """Another state or detail. Draining is final, but for a fault.

        `hindrance` is what it waits for and what a person could do; it becomes a fault unless it passes.
        """
        if self._state in (WorkerState.DRAINING, WorkerState.FAILED) and state is not WorkerState.FAILED:
            state = self._state
        if state is not self._state or (hindrance is None) is not (self._hindrance is None):
            self.changed.set()
        self._state, self._detail, self._hindrance = state, detail, hindrance

    def mark(self, *, is_marked: bool) -> None:
        """Whether the operator wants this worker, which has no job left, to go. A mark may lapse."""
        if is_marked is not self._is_marked:
            self._is_marked = is_marked
            self.changed.set()

    def fail(self, fault: Fault) -> None:
        """The worker is about to end because of a fault."""
        self.fault = fault
        self.enter(WorkerState.FAILED, str(fault.reason))

    @property
    def is_ready(self) -> bool:
        """Warm and willing; busy or not."""
        return self.state is WorkerState.READY

    def batch_of(self, tier: Tier) -> int:
        """Most jobs of a tier that are made together."""
        timing = self.warmed.get(tier.name)
        return timing.batch if timing else 1

    @property
    def _is_spared(self) -> bool:
        return self._is_marked and self._state is WorkerState.READY

    def beacon(self) -> WorkerBeacon:
        """The status as it goes to Redis."""
        fault = self.fault or self._hindrance
        return WorkerBeacon(
            worker=self._worker,
            revision=self._revision,
            state=self.state,
            detail=self.detail,
            reason=fault.reason if fault else None,
            message=fault.message if fault else "",
            note=self.note,
            warmed=tuple(self.warmed.values()),
            job=self.jobs[0] if self.jobs else None,
        )
