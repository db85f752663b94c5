"""Metric names of the operator; served on /metrics."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

from videofleet.jobs import Outcomes

REGISTRY: Final = CollectorRegistry()
RECONCILE_SECONDS: Final = Histogram(
    "videofleet_operator_reconcile_seconds", "Seconds of one reconcile.", ["outcome"], registry=REGISTRY
)
API_CALLS: Final = Counter(
    "videofleet_operator_api_calls_total", "Calls to the API server.", ["verb", "resource", "code"], registry=REGISTRY
)
QUEUE_DEPTH: Final = Gauge("videofleet_operator_workqueue_depth", "Keys that wait.", registry=REGISTRY)
LEADING: Final = Gauge("videofleet_operator_leading", "1 while this replica leads.", registry=REGISTRY)
EPOCH: Final = Gauge("videofleet_operator_epoch", "Of this replica's last term; rises for ever.", registry=REGISTRY)
REDIS_UP: Final = Gauge("videofleet_operator_redis_up", "1 while Redis answers.", registry=REGISTRY)


_LABELS: Final = ("fleet", "revision", "tier")


class FleetOutcomes:
    """How jobs ended, as Redis counts it: exact over restarts of everything. A fleet that is gone is not shown."""

    def __init__(self) -> None:
        self.by_fleet: dict[str, list[Outcomes]] = {}  # namespace/name → rows

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For Prometheus."""
        jobs = CounterMetricFamily("videofleet_fleet_jobs", "Jobs by how they ended.", labels=(*_LABELS, "outcome"))
        step_s = CounterMetricFamily("videofleet_fleet_step_seconds", "Sum of jobs' seconds per step.", labels=_LABELS)
        timed = CounterMetricFamily("videofleet_fleet_timed_jobs", "Jobs in that sum.", labels=_LABELS)
        for fleet, rows in self.by_fleet.items():
            for row in rows:
                labels = (fleet, row.revision, row.tier)
                for outcome in ("succeeded", "failed", "dead", "cancelled"):
                    jobs.add_metric((*labels, outcome), getattr(row, outcome))
                step_s.add_metric(labels, row.step_s)
                timed.add_metric(labels, row.steps)
        yield from (jobs, step_s, timed)


FLEET_OUTCOMES: Final = FleetOutcomes()
REGISTRY.register(FLEET_OUTCOMES)
