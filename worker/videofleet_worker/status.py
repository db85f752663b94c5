"""What the worker would answer if asked how it is: one value, read by probes, metrics and beacon.

Only the supervisor's event loop touches it, so it needs no lock.
"""

import asyncio

from videofleet.beacons import TierTiming, WorkerBeacon, WorkerFault, WorkerState
from videofleet_worker.faults import Fault


class Status:
    """The worker's state of the moment."""

    def __init__(self, worker: str, revision: str) -> None:
        self._worker = worker
        self._revision = revision
        self.state = WorkerState.LOADING
        self.detail = "starting"
        self.fault: Fault | None = None
        self.note = ""  # for people, while it serves
        self.warmed: dict[str, TierTiming] = {}
        self.job: str | None = None
        self.changed = asyncio.Event()  # set at each change; the beacon clears it

    def enter(self, state: WorkerState, detail: str) -> None:
        """Another state or detail. Draining is final, but for a fault."""
        if self.state in (WorkerState.DRAINING, WorkerState.FAILED) and state is not WorkerState.FAILED:
            state = self.state
        if state is not self.state:
            self.changed.set()
        self.state, self.detail = state, detail

    def fail(self, fault: Fault) -> None:
        """The worker is about to end because of a fault."""
        self.fault = fault
        self.enter(WorkerState.FAILED, str(fault.reason))

    @property
    def is_ready(self) -> bool:
        """Warm and willing; busy or not."""
        return self.state is WorkerState.READY

    def beacon(self) -> WorkerBeacon:
        """The status as it goes to Redis."""
        reason: WorkerFault | None = self.fault.reason if self.fault else None
        return WorkerBeacon(
            worker=self._worker,
            revision=self._revision,
            state=self.state,
            detail=self.detail,
            reason=reason,
            message=self.fault.message if self.fault else "",
            note=self.note,
            warmed=tuple(self.warmed.values()),
            job=self.job,
        )
