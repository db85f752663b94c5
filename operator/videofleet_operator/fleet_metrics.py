"""The gauges of each fleet: its workers, canary, fallback and queue as they are now, made when somebody scrapes.

Workers, canary, fallback and standby are what the status says, of which every replica tells the same. The queue is what
the leader saw in Redis a moment ago: nobody tells it while there is no leader or Redis does not answer.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily

from videofleet.jobs import QueueStats
from videofleet_operator.metrics import REGISTRY

_ROWS: Final = (  # name, meaning, labels beside the fleet
    ("workers", "Workers; state wanted (or still there) or ready (warm).", "state"),
    ("canary_weight_ratio", "Share of the jobs that goes to the canary, while there is one.", None),
    ("fallback_share_ratio", "Share of the jobs whose tier is lowered, of the priorities that are.", None),
    ("standby_active", "1 while the standby serves instead of the revision that failed.", None),
    ("waiting_jobs", "Jobs that wait.", "priority"),
    ("running_jobs", "Jobs that run.", None),
    ("oldest_wait_seconds", "How long the oldest waiting job has waited.", None),
)


class FleetGauges:
    """A collector over the latest statuses and queues."""

    def __init__(self) -> None:
        self.generators: Iterable[dict[str, Any]] = ()
        self.queues: dict[str, QueueStats] = {}  # namespace/name → figures

    def describe(self) -> tuple[GaugeMetricFamily, ...]:
        """The families, empty."""
        return tuple(
            GaugeMetricFamily(f"videofleet_fleet_{name}", words, labels=("fleet", label) if label else ("fleet",))
            for name, words, label in _ROWS
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For Prometheus."""
        families = self.describe()
        workers, canary, lowered, standby, waiting, running, oldest = families
        for generator in self.generators:
            fleet = f"{generator['metadata']['namespace']}/{generator['metadata']['name']}"
            status = generator.get("status") or {}
            rollout, fallback = status.get("rollout") or {}, status.get("fallback") or {}
            workers.add_metric((fleet, "wanted"), status.get("replicas", 0))
            workers.add_metric((fleet, "ready"), status.get("readyReplicas", 0))
            if rollout.get("canaryRevision"):
                canary.add_metric((fleet,), _ratio(rollout.get("weight")))
            lowered.add_metric((fleet,), _ratio(fallback.get("share")))
            standby.add_metric((fleet,), "failed" in (rollout.get("undo") or {}))
        for fleet, stats in self.queues.items():
            for priority, figures in stats.by_priority.items():
                waiting.add_metric((fleet, priority), figures.jobs)
            running.add_metric((fleet,), stats.running)
            oldest.add_metric((fleet,), stats.oldest_wait_s)
        yield from families


def _ratio(share: str | None) -> float:
    """Of a share in a status, 0% to 100%."""
    return float((share or "0%").removesuffix("%")) / 100


FLEET_GAUGES: Final = FleetGauges()
REGISTRY.register(FLEET_GAUGES)
