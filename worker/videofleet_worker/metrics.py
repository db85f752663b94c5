"""Every metric of the worker, by name. One registry for each worker, so that tests may have several."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from videofleet.beacons import WorkerState

STEP_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 2, 4, 6, 8, 12, 16, 20, 30, 60)
CLIP_BUCKETS_S = (0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """What Prometheus may know of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter(
            "videofleet_worker_jobs",
            "Attempts by outcome: succeeded, retried, failed, cancelled, lost, given_back or preempted.",
            ["outcome"],
            registry=self.registry,
        )
        self.seconds_per_step = Histogram(
            "videofleet_worker_seconds_per_step",
            "Mean seconds of a denoising step, one observation a job.",
            ["tier"],
            buckets=STEP_BUCKETS_S,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "videofleet_worker_batch_size",
            "Jobs that were denoised together, one observation each time.",
            buckets=(1, 2, 4, 8),
            registry=self.registry,
        )
        self.compute_seconds = Counter(
            "videofleet_worker_compute_seconds", "Seconds that compute had jobs.", registry=self.registry
        )
        self.delivery_seconds = Histogram(
            "videofleet_worker_delivery_seconds",
            "From the last frame to the commit: encoding, upload, Redis.",
            buckets=CLIP_BUCKETS_S,
            registry=self.registry,
        )
        self.rejected = Counter(
            "videofleet_worker_rejected",
            "Clips that the output gate refused: not_finite, black, flat or frozen.",
            ["tier", "flaw"],
            registry=self.registry,
        )
        self.delivering = Gauge(
            "videofleet_worker_delivering", "Clips being encoded, uploaded or committed.", registry=self.registry
        )
        self.upload_retries = Counter(
            "videofleet_worker_upload_retries", "Uploads that the store refused.", registry=self.registry
        )
        self.decodes = Counter(
            "videofleet_worker_decodes",
            "Clips for decoders: made, refused or returned by them; of a decoder answered, lost or given_back.",
            ["outcome"],
            registry=self.registry,
        )
        self.checkpoints = Counter(
            "videofleet_worker_checkpoints",
            "States of running jobs: stored or refused by the store, resumed or ignored by a later attempt.",
            ["outcome"],
            registry=self.registry,
        )
        self._add_those_of_the_process()

    def _add_those_of_the_process(self) -> None:
        self.device_memory = Gauge(
            "videofleet_worker_device_memory_bytes",
            "Peak use of device memory: predicted before loading, and measured by warm-up on a GPU.",
            ["kind"],
            registry=self.registry,
        )
        self.compute_restarts = Counter(
            "videofleet_worker_compute_restarts", "Compute processes that died or hung.", registry=self.registry
        )
        self._state = Gauge(
            "videofleet_worker_state", "1 for the state the worker is in.", ["state"], registry=self.registry
        )

    def set_state(self, current: WorkerState) -> None:
        """Marks the state of the moment."""
        for state in WorkerState:
            self._state.labels(state).set(state is current)
