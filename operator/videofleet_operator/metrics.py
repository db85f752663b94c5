"""Every metric of the operator, by name; served on /metrics. docs/reference/metrics.md is made from them."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

from videofleet.jobs import Outcomes

CONDITIONS: Final = ("Ready", "Progressing", "Degraded", "Stalled", "FallbackActive")
REGISTRY: Final = CollectorRegistry()
RECONCILE_SECONDS: Final = Histogram(
    "videofleet_operator_reconcile_seconds",
    "One reconcile of one VideoGenerator; outcome ok or error.",
    ["outcome"],
    registry=REGISTRY,
)
API_CALLS: Final = Counter(
    "videofleet_operator_api_calls_total",
    "Calls to the API server; code `none`: no answer.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
QUEUE_DEPTH: Final = Gauge(
    "videofleet_operator_workqueue_depth", "VideoGenerators that wait for a reconcile.", registry=REGISTRY
)
LEADING: Final = Gauge("videofleet_operator_leading", "1 while this replica leads.", registry=REGISTRY)
EPOCH: Final = Gauge(
    "videofleet_operator_epoch", "Leader term of this replica; each term has a higher one.", registry=REGISTRY
)
REDIS_UP: Final = Gauge("videofleet_operator_redis_up", "1 while Redis answers.", registry=REGISTRY)
FLEETS: Final = Gauge(
    "videofleet_operator_fleets",
    "VideoGenerators by condition and its status.",
    ["condition", "status"],
    registry=REGISTRY,
)

GPU_SECONDS: Final = Counter(
    "videofleet_fleet_gpu_seconds_total",
    "GPU-seconds that pods held, starting and terminating ones included.",
    ["fleet"],
    registry=REGISTRY,
)


def count_fleets(generators: Iterable[dict[str, Any]]) -> None:
    """Takes the conditions of all VideoGenerators into FLEETS."""
    counts = {(kind, status): 0 for kind in CONDITIONS for status in ("True", "False")}
    for generator in generators:
        for condition in (generator.get("status") or {}).get("conditions", []):
            key = condition.get("type"), condition.get("status")
            if key in counts:
                counts[key] += 1
    for (kind, status), count in counts.items():
        FLEETS.labels(kind, status).set(count)


_LABELS: Final = ("fleet", "revision", "tier")


class FleetOutcomes:
    """How jobs ended, as Redis counts it: exact over restarts of everything. A fleet that is gone is not shown."""

    def __init__(self) -> None:
        self.by_fleet: dict[str, list[Outcomes]] = {}  # namespace/name → rows

    def describe(self) -> tuple[CounterMetricFamily, ...]:
        """The families, empty."""
        return (
            CounterMetricFamily("videofleet_fleet_jobs", "Jobs by how they ended.", labels=(*_LABELS, "outcome")),
            CounterMetricFamily("videofleet_fleet_step_seconds", "Sum of jobs' seconds per step.", labels=_LABELS),
            CounterMetricFamily("videofleet_fleet_timed_jobs", "Jobs in that sum.", labels=_LABELS),
            CounterMetricFamily(
                "videofleet_fleet_recoveries", "Workers that broke and are warm again.", labels=_LABELS[:2]
            ),
            CounterMetricFamily(
                "videofleet_fleet_recovery_seconds", "Sum of the seconds that took.", labels=_LABELS[:2]
            ),
        )

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For Prometheus."""
        jobs, step_s, timed, recoveries, recovery_s = self.describe()
        for fleet, rows in self.by_fleet.items():
            for row in rows:
                labels = (fleet, row.revision, row.tier)
                if not row.tier:  # of workers, not of jobs
                    recoveries.add_metric(labels[:2], row.recoveries)
                    recovery_s.add_metric(labels[:2], row.recovery_s)
                    continue
                for outcome in ("succeeded", "failed", "dead", "cancelled"):
                    jobs.add_metric((*labels, outcome), getattr(row, outcome))
                step_s.add_metric(labels, row.step_s)
                timed.add_metric(labels, row.steps)
        yield from (jobs, step_s, timed, recoveries, recovery_s)


FLEET_OUTCOMES: Final = FleetOutcomes()
REGISTRY.register(FLEET_OUTCOMES)
