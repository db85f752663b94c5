"""The gateway's Prometheus metrics; the one home of their names.

Labels come from routes, methods and closed vocabularies, never from users.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """One registry with everything in it, so that two gateways in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "videofleet_gateway_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "videofleet_gateway_request_seconds",
            "Time from the request's headers to the end of the reply.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.submits = Counter(
            "videofleet_gateway_submits",
            "POST /v1/videos by outcome: created, replayed, or the error code.",
            ("outcome",),
            registry=self.registry,
        )
        self.advice = Counter(
            "videofleet_gateway_prompt_advice",
            "Findings of the prompt checks, by code.",
            ("code",),
            registry=self.registry,
        )
        self.event_listeners = Gauge(
            "videofleet_gateway_event_listeners",
            "Open streams of GET /v1/videos/{id}/events.",
            registry=self.registry,
        )
        self.event_pollers = Gauge(
            "videofleet_gateway_event_pollers",
            "Jobs polled for those streams.",
            registry=self.registry,
        )
        self.breaker_open = Gauge(
            "videofleet_gateway_breaker_open",
            "1 while requests are refused at once because it does not answer: redis, store or oidc.",
            ("dependency",),
            registry=self.registry,
        )
        self._count_judgements()
        self._count_rounds()

    def _count_judgements(self) -> None:
        """What was decided about a prompt, a video or a person."""
        self.moderation = Counter(
            "videofleet_gateway_moderation",
            "Answers of the moderation hook; stage prompt or video; outcome allowed, refused or unanswered.",
            ("stage", "outcome"),
            registry=self.registry,
        )
        self.cache = Counter(
            "videofleet_gateway_cache",
            "Submissions that an earlier video might have answered: hit or miss.",
            ("outcome",),
            registry=self.registry,
        )
        self.sign_ins = Counter(
            "videofleet_gateway_sign_ins",
            "People who came back from the identity provider: signed_in, or the error code.",
            ("outcome",),
            registry=self.registry,
        )

    def _count_rounds(self) -> None:
        """What is done beside answering."""
        self.reaped = Counter(
            "videofleet_gateway_reaped",
            "Jobs whose lease had expired and that the reaper moved on.",
            registry=self.registry,
        )
        self.redis_late_fsyncs = Counter(
            "videofleet_gateway_redis_late_fsyncs",
            "Times that Redis acknowledged jobs for 2 s before they were on disk, as this replica saw it.",
            registry=self.registry,
        )
        self.redis_write_failing = Gauge(
            "videofleet_gateway_redis_write_failing",
            "1 while Redis cannot write its append-only file.",
            registry=self.registry,
        )
        self.expired = Counter(
            "videofleet_gateway_expired",
            "Jobs removed because their retention was over.",
            registry=self.registry,
        )
        self.orphans = Gauge(
            "videofleet_gateway_orphans",
            "Folders in the stores that no record knows and whose retention is not over, at the last search.",
            registry=self.registry,
        )
        self.orphans_deleted = Counter(
            "videofleet_gateway_orphans_deleted",
            "Folders that no record knew, deleted after their retention.",
            registry=self.registry,
        )
