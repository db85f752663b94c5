"""A fleet's figures of the moment, at most a second old and shared by all who ask: what waits, what runs, who works."""

import time
from dataclasses import dataclass
from typing import Final

from videofleet.beacons import WorkerBeacon
from videofleet.jobs import QueueStats
from videofleet.queue import JobQueue

MAX_AGE_S: Final = 1.0


@dataclass(frozen=True)
class Figures:
    """One fleet."""

    stats: QueueStats
    beacons: list[WorkerBeacon]


class FleetFigures:
    """All fleets that somebody asked about."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._known: dict[str, tuple[float, Figures]] = {}

    async def of(self, fleet_uid: str) -> Figures:
        """Raises: QueueUnavailable."""
        if fleet_uid in self._known:
            read_at, figures = self._known[fleet_uid]
            if time.monotonic() - read_at < MAX_AGE_S:
                return figures
        figures = Figures(await self._queue.stats(fleet_uid), await self._queue.beacons(fleet_uid))
        self._known[fleet_uid] = time.monotonic(), figures
        return figures
