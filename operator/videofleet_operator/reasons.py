"""The closed list of condition reasons and, for each, what it means and what to do. The docs page is made
from it.

What a worker finds wrong with itself keeps the worker's word: every `WorkerFault` is a reason too.
"""

from enum import StrEnum
from typing import Final

from videofleet.beacons import WorkerFault


class Reason(StrEnum):
    """Reasons the operator finds by itself."""

    WORKERS_READY = "WorkersReady"
    SCALED_TO_ZERO = "ScaledToZero"
    WARMING_UP = "WarmingUp"
    ROLLING_OUT = "RollingOut"
    UNDER_LOAD = "UnderLoad"
    FULL_QUALITY = "FullQuality"
    FALLBACK_OFF = "FallbackOff"
    GOLDEN_PROMPTS = "GoldenPrompts"
    CANARY_AT_STEP = "CanaryAtStep"
    CANARY_PROMOTED = "CanaryPromoted"
    CANARY_PAUSED = "CanaryPaused"
    AWAITING_APPROVAL = "AwaitingApproval"
    INSUFFICIENT_EVIDENCE = "InsufficientEvidence"
    NO_SPARE_GPU = "NoSpareGPU"
    CANARY_REJECTED = "CanaryRejected"
    UNDONE = "Undone"
    STANDBY_ACTIVE = "StandbyActive"
    SETTLED = "Settled"
    PAUSED = "Paused"
    HEALTHY = "Healthy"
    INVALID_SPEC = "InvalidSpec"
    STORE_UNKNOWN = "StoreUnknown"
    UNSCHEDULABLE = "Unschedulable"
    PODS_REFUSED = "PodsRefused"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, no secret
    VOLUME_CLAIM_MISSING = "VolumeClaimMissing"
    VOLUME_MOUNT_FAILED = "VolumeMountFailed"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    OOM_KILLED = "OOMKilled"
    CRASH_LOOP = "CrashLoop"
    PROGRESS_DEADLINE = "ProgressDeadlineExceeded"
    QUEUE_UNREACHABLE = "QueueUnreachable"


MEANINGS: Final[dict[Reason, str]] = {
    Reason.WORKERS_READY: "Workers of the stable revision are warm and serve.",
    Reason.SCALED_TO_ZERO: "Nobody asks for videos and no worker runs; the next job starts one.",
    Reason.WARMING_UP: "The first workers load the model and prove every tier; wait.",
    Reason.ROLLING_OUT: "A new revision warms up beside the one that serves; wait.",
    Reason.UNDER_LOAD: "More work than workers: some jobs get a lower tier; wait, or raise spec.scaling.maxReplicas.",
    Reason.FULL_QUALITY: "Every job gets the tier it asked for.",
    Reason.FALLBACK_OFF: "Every job gets the tier it asked for, under load too: spec.fallback.enabled is false.",
    Reason.GOLDEN_PROMPTS: "A canary renders prompts of ours before it gets any job; wait.",
    Reason.CANARY_AT_STEP: "A canary has its share of the jobs and is compared with stable; wait.",
    Reason.CANARY_PROMOTED: "The canary is good; its workers replace those of stable; wait.",
    Reason.CANARY_PAUSED: "A person paused the canary; it keeps its share. Go on: videofleet rollout resume.",
    Reason.AWAITING_APPROVAL: "The step is passed and has `hold: Manual`. Go on: videofleet rollout resume.",
    Reason.INSUFFICIENT_EVIDENCE: (
        "It has lasted maxStepDuration without enough jobs to judge by; it goes on by itself when they come."
        " Otherwise: videofleet rollout promote, resume or abort; or a larger weight or tolerance in spec.rollout."
    ),
    Reason.NO_SPARE_GPU: (
        "The canary needs the GPU of the only worker. Free a GPU, raise minReplicas, or set spec.rollout.allowOutage."
    ),
    Reason.CANARY_REJECTED: (
        "The revision of the spec was turned down and gets no jobs. Apply another spec, or videofleet rollout retry."
    ),
    Reason.UNDONE: "A person went back to another revision than the spec names; apply the spec that is meant.",
    Reason.STANDBY_ACTIVE: (
        "It stays so until the spec names another revision; apply a corrected spec. To go back as it is: videofleet"
        " rollout undo NAME REVISION, with the revision that failed; it has no standby then."
    ),
    Reason.SETTLED: "Nothing is under way.",
    Reason.PAUSED: "The annotation videofleet.dev/paused holds everything as it is; remove it to go on.",
    Reason.HEALTHY: "Nothing is wrong.",
    Reason.INVALID_SPEC: (
        "The spec breaks a rule that the CRD in this cluster did not check; correct the named field."
    ),
    Reason.STORE_UNKNOWN: ("The installation has no such store; use a listed one or add it to the chart's values."),
    Reason.UNSCHEDULABLE: "No node fits a worker; free or add capacity, or ask for less.",
    Reason.PODS_REFUSED: ("The API server refuses the pods (quota, admission); raise the quota or change the spec."),
    Reason.IMAGE_PULL_FAILED: ("The worker image cannot be pulled; correct spec.worker.image or the pull secret."),
    Reason.SECRET_MISSING: "A Secret that workers mount is missing in the fleet's namespace; create it.",
    Reason.VOLUME_CLAIM_MISSING: "A PersistentVolumeClaim is missing in the fleet's namespace; create it.",
    Reason.VOLUME_MOUNT_FAILED: "A volume cannot be mounted; see the message.",
    Reason.CONTAINER_CONFIG_ERROR: "The kubelet cannot make the container; see the message.",
    Reason.OOM_KILLED: "A worker used more memory than its limit; raise spec.worker.resources.limits.memory.",
    Reason.CRASH_LOOP: "Workers exit again and again without saying why; read their log.",
    Reason.PROGRESS_DEADLINE: "Workers did not become ready in time; see their log and spec.warmup.timeout.",
    Reason.QUEUE_UNREACHABLE: "Redis does not answer; jobs are neither taken nor handed out until it does.",
}

FAULT_REMEDIES: Final[dict[WorkerFault, str]] = {
    WorkerFault.MODEL_NOT_FOUND: "Correct spec.model.source, or put the model there.",
    WorkerFault.MODEL_UNSAFE: "Convert the weights to safetensors, without remote code.",
    WorkerFault.MODEL_CORRUPT: "Copy the model again; a file is truncated or damaged.",
    WorkerFault.MODEL_MISMATCH: "Set spec.model.architecture to that of the weights.",
    WorkerFault.NOT_FINITE: "Try spec.model.dtype: bfloat16.",
    WorkerFault.LOADING_TIMEOUT: "Raise spec.warmup.loadingTimeout, or use a faster volume.",
    WorkerFault.WARMUP_TIMEOUT: "Raise spec.warmup.timeout or lower the tiers.",
    WorkerFault.OUT_OF_MEMORY: "Lower the largest tier or use a bigger GPU.",
    WorkerFault.SIGNING_KEY_INVALID: "Put a private Ed25519 key in PEM into the Secret, as `ed25519.pem`.",
    WorkerFault.STORE_UNREACHABLE: "Check the store's url and credentials.",
    WorkerFault.WEIGHTS_DISK: "Give the weights a larger volume, or one that workers may write and lock.",
    WorkerFault.COMPUTE_CRASHED: "Read the worker's log.",
}


def reason_rows() -> list[tuple[str, str]]:
    """Every reason with its meaning, for the docs."""
    own = [(reason.value, MEANINGS[reason]) for reason in Reason]
    return own + [(fault.value, FAULT_REMEDIES[fault]) for fault in WorkerFault]
