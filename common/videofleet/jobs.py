"""A job: one video asked for. These are the values that travel; who may change them is `videofleet.queue`.

States: queued → running → succeeded | failed | cancelled | dead; running → queued on reclaim, drain or retry.
"""

import hashlib
from enum import StrEnum
from typing import Final

from pydantic import Field

from videofleet.tiers import Tier
from videofleet.wire import Wire

PAYLOAD_VERSION: Final = 1


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"  # attempts exhausted; a person decides

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will happen to the job any more by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Priority(StrEnum):
    """Who goes first; inside one, tenants share by service seconds."""

    INTERACTIVE = "interactive"  # somebody looks at the screen
    STANDARD = "standard"
    BATCH = "batch"  # goes last, but before everybody once it has waited spec.queue.batchMaxWait


class ErrorCode(StrEnum):
    """Why a job ended without a video; `error.code` on the wire."""

    CANCELLED_BY_USER = "cancelled"
    FLEET_DELETED = "fleet_deleted"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"  # every attempt lost its worker or failed
    DEADLINE_EXCEEDED = "deadline_exceeded"  # no worker was free in time
    PAYLOAD_UNKNOWN = "payload_unknown"  # damaged, or of a newer version than the worker that claimed it
    GENERATION_FAILED = "generation_failed"  # the pipeline raised
    NOT_FINITE = "not_finite"  # NaN or infinity in latents or frames
    OUTPUT_REJECTED = "output_rejected"  # clip after clip was black, flat, frozen or not finite

    @property
    def is_rejection(self) -> bool:
        """Whether a video was made and the output gate refused it."""
        return self in (ErrorCode.NOT_FINITE, ErrorCode.OUTPUT_REJECTED)


class Verdict(StrEnum):
    """What the moderation hook said of a video."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class VideoRequest(Wire):
    """What a worker needs to make the video; nothing of it ever reaches a log."""

    v: int = PAYLOAD_VERSION
    prompt: str
    negative_prompt: str = ""
    seed: int
    guidance_scale: float | None = None  # None: the pipeline's default
    guidance_scale_2: float | None = None  # low-noise expert; None: guidance_scale
    tier: Tier  # as asked for: the name, and the shape it had at submission
    allow_fallback: bool = True  # whether a lower tier will do when the fleet is under load
    output_prefix: str = ""  # folder in the store, from spec.output.prefix


class Progress(Wire):
    """How far an attempt is."""

    stage: str  # loading | encoding_prompt | denoising | decoding | muxing | uploading
    step: int = 0  # denoising steps done
    steps: int = 0  # denoising steps in all
    advanced: bool = False  # this attempt has put a checkpoint into the store: another one goes on from there

    @property
    def percent(self) -> int:
        """0–99 for people; 100 is only said of a finished job. Denoising counts for 5–90 %."""
        if self.stage == "denoising" and self.steps:
            return 5 + 85 * self.step // self.steps
        return {"decoding": 90, "muxing": 95, "uploading": 97}.get(self.stage, 0)


class ClipLook(Wire):
    """What a clip looks like in five figures, each a mean over its frames, of 255."""

    brightness: float  # of the luma
    contrast: float  # standard deviation of the luma over a frame
    detail: float  # from a point to the next, about a ninetieth of the height away
    motion: float  # from a frame to the next
    colour: float  # between the channels: a grey clip has none


class VideoResult(Wire):
    """Where the video lies and what it is. Keys are relative to the store."""

    store: str
    video_key: str
    thumbnail_key: str
    spritesheet_key: str = ""  # older videos have none
    video_bytes: int
    tier: Tier  # as delivered
    fallback: str | None = None  # why that is lower than what was asked for
    seed: int
    revision: str
    attempt: int
    seconds_per_step: float  # mean over the denoising steps
    worker_seconds: float  # claim to commit
    provenance_key: str = ""  # where a fleet signs
    peak_bytes: int | None = None  # of GPU memory, as the worker's warm-up measured them; None on a CPU
    rejected: tuple[str, ...] = ()  # flaws of clips that were made before this one and not delivered
    look: ClipLook | None = None  # of a golden prompt


class NoticeState(StrEnum):
    """Whether the webhook heard of the job's end."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # every attempt failed
    DISABLED = "disabled"  # its URL answered 410


class Webhook(Wire):
    """Who is told when the job ends."""

    url: str = Field(repr=False)  # may hold a secret of the receiver's
    state: NoticeState | None = None  # None until the job ends
    attempts: int = 0


class Job(Wire):
    """One job as Redis knows it, in one consistent read."""

    id: str
    fleet_uid: str
    tenant: str
    state: JobState
    request: VideoRequest
    priority: Priority = Priority.STANDARD
    deadline_ms: int | None = None  # no attempt begins after it
    created_at_ms: int
    started_at_ms: int | None = None  # of the latest attempt
    finished_at_ms: int | None = None
    attempt: int = 0
    worker: str | None = None
    revision: str | None = None
    lowered_to: Tier | None = None  # decided at the first claim, under load
    fallback: str | None = None  # why
    cancel_requested: bool = False
    progress: Progress | None = None
    verdict: Verdict | None = None  # None: nobody judged it yet
    cached: bool = False  # an earlier video was reused, no worker had it
    result: VideoResult | None = None
    error_code: str | None = None
    error_message: str | None = None
    webhook: Webhook | None = None

    @property
    def tier(self) -> Tier:
        """What the job is made in: as asked for, unless it was lowered."""
        return self.lowered_to or self.request.tier


class NewJob(Wire):
    """A job to be submitted."""

    id: str
    fleet_uid: str
    tenant: str
    request: VideoRequest
    idempotency_key: str | None = None
    priority: Priority = Priority.STANDARD
    deadline_ms: int | None = None  # since the epoch
    webhook: str | None = Field(default=None, repr=False)  # URL to tell when the job ends
    body_digest: str = ""  # SHA-256 of the request body: the same key with another body is a conflict

    @property
    def idempotency_digest(self) -> str:
        """What stands for the key in Redis; "" without one."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest() if self.idempotency_key else ""


class Claim(Wire):
    """A job in the hands of one worker until `lease_until_ms` (Redis' clock)."""

    job: Job
    token: str = Field(repr=False)  # fencing: random, one per attempt
    attempt: int
    lease_ms: int

    @property
    def tier(self) -> Tier:
        """What to render."""
        return self.job.tier

    @property
    def fallback(self) -> str | None:
        """Why that is lower than what was asked for."""
        return self.job.fallback


class WaitingFigures(Wire):
    """The waiting jobs of one priority."""

    jobs: int = 0  # those that wait for their next attempt included
    cost_s: float = 0.0  # service seconds at the tiers asked for
    oldest_wait_s: float = 0.0


class GoldenFigures(Wire):
    """What became of the golden prompts of the canary."""

    revision: str = ""  # the canary
    asked: int = 0
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0  # of any: the output gate refused the first clip
    looks: dict[str, dict[int, ClipLook]] = Field(default_factory=dict)  # revision → seed → what it made; stable's too


class QueueStats(Wire):
    """Figures of one fleet, from one snapshot. Seconds of work are service seconds at the tiers asked for."""

    waiting: int  # those that wait for their next attempt included
    running: int
    oldest_wait_s: float  # 0 when nothing waits
    waiting_cost_s: float = 0.0
    running_remaining_s: float = 0.0
    arrived_s_total: float = 0.0  # ever submitted; a counter
    by_priority: dict[Priority, WaitingFigures] = Field(default_factory=dict)
    canary_waiting: int = 0  # of the waiting, those in the canary's line
    failing: dict[str, int] = Field(default_factory=dict)  # revision → jobs in a row whose attempts failed, the latest
    golden: GoldenFigures = GoldenFigures()
    canary_given_up: str | None = None  # the canary that failed too often in a row: it is given no more jobs


class Outcomes(Wire):
    """How the jobs and attempts of one revision and tier ended since the fleet began; exact."""

    revision: str  # of the last attempt; "" for jobs that no worker had begun
    tier: str  # that the job was made in; as asked for while no worker had begun
    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    steps: int = 0  # jobs whose seconds per step are in the sum
    step_s: float = 0.0  # sum of their seconds per step; jobs of one batch share them
    alone: int = 0  # of those, jobs that shared no batch
    alone_s: float = 0.0  # sum of their seconds per step
    pass_s: float = 0.0  # sum, over the others, of the seconds per step of their whole batch
    attempts: int = 0  # that ended in a video or by a fault; drains and cancellations tell nothing about a revision
    attempt_failures: int = 0  # of those: failed, or their worker was lost
    rejected: int = 0  # of those: the output gate refused a video, whether or not a later one passed
    paced: int = 0  # jobs made while a canary was on trial, compared with `CanaryRule.slow_above_s`
    slow: int = 0  # of those: slower
    measured: int = 0  # jobs whose `VideoResult.peak_bytes` is in the sum
    memory_bytes: float = 0.0  # sum of those
    weighed: int = 0  # jobs made while a canary was on trial, compared with `CanaryRule.memory_above_bytes`
    hungry: int = 0  # of those: more
    recoveries: int = 0  # workers that were warm, broke and are warm again; of no tier
    recovery_s: float = 0.0  # sum of the seconds from the last sign of the one to the first of the other
    slow_recoveries: int = 0  # of those, while a canary was on trial: above `CanaryRule.recovery_above_s`
    timed_recoveries: int = 0  # that were compared with it
    waited: int = 0  # jobs whose first attempt began while a canary was on trial
    wait_s: float = 0.0  # sum of the seconds until then
    worker_s: float = 0.0  # sum over all attempts, claim to end; jobs of one batch share it
