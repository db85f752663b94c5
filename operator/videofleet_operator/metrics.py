"""Metric names of the operator; served on /metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
