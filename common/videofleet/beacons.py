"""What a worker says about itself, every few seconds, through Redis: the operator's eyes where the API has none.

A beacon is advice for people and status. Correctness never rests on one: readiness is the pod's, leases are the job's.
"""

from enum import StrEnum

from videofleet.wire import Wire


class WorkerState(StrEnum):
    """Where a worker is in its life."""

    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"  # warm; busy or not
    DRAINING = "draining"
    FAILED = "failed"  # `reason` and `message` say why; the container exits and is restarted


class WorkerFault(StrEnum):
    """Why a worker cannot serve. Also the reason of the Ready condition, so the words are CamelCase and closed."""

    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_UNSAFE = "ModelUnsafe"  # pickled weights or remote code
    MODEL_CORRUPT = "ModelCorrupt"  # truncated, wrong shape, missing tensor
    MODEL_MISMATCH = "ModelMismatch"  # not of spec.model.architecture
    NOT_FINITE = "NotFinite"  # NaN or infinity while warming up: this dtype does not hold this model
    LOADING_TIMEOUT = "LoadingTimeout"
    WARMUP_TIMEOUT = "WarmupTimeout"
    OUT_OF_MEMORY = "OutOfMemory"
    SIGNING_KEY_INVALID = "SigningKeyInvalid"
    STORE_UNREACHABLE = "StoreUnreachable"
    WEIGHTS_DISK = "WeightsDiskFull"  # the volume for weights is full, not writable, or knows no locks
    COMPUTE_CRASHED = "ComputeCrashed"


class TierTiming(Wire):
    """What warm-up measured for one tier."""

    tier: str
    runs: int
    seconds_per_step: float
    decode_s: float
    encode_s: float
    batch: int = 1  # most jobs that gain from denoising together


class WorkerBeacon(Wire):
    """One worker's state. `at_ms` is stamped by Redis when it is stored."""

    worker: str  # pod name
    revision: str
    state: WorkerState
    detail: str = ""  # for people: "warming 720p, run 2 of at most 4"
    reason: WorkerFault | None = None  # of its end, or of what it waits for and may yet pass
    message: str = ""  # what was wrong and what to do
    note: str = ""  # what people should know though it serves: another dtype than asked for
    warmed: tuple[TierTiming, ...] = ()
    job: str | None = None
    at_ms: int = 0
