"""The deliverer's Prometheus metrics; the one home of their names. No label comes from a user."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry with everything in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.attempts = Counter(
            "videofleet_deliver_attempts",
            "Attempts by reply: 2xx, 3xx, 4xx, 410, 5xx, timeout, dns, tls, connection, forbidden, or unsigned.",
            ("result",),
            registry=self.registry,
        )
        self.notices = Counter(
            "videofleet_deliver_notices",
            "Notices that are settled: delivered, failed (every attempt), disabled (410).",
            ("outcome",),
            registry=self.registry,
        )
        self.attempt_seconds = Histogram(
            "videofleet_deliver_attempt_seconds",
            "Time of one attempt.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
            registry=self.registry,
        )
        self.in_flight = Gauge("videofleet_deliver_in_flight", "Attempts on their way.", registry=self.registry)
        self.outbox = Gauge(
            "videofleet_deliver_outbox",
            "Notices of all fleets that are not delivered yet.",
            registry=self.registry,
        )
        self.overdue_seconds = Gauge(
            "videofleet_deliver_overdue_seconds",
            "How long the first due notice has been waiting for a deliverer.",
            registry=self.registry,
        )
