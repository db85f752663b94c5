"""The policy that gateways and workers obey, from the revision that serves and the fleet's own limits.

Tiers, architecture and store are those of the revision that serves: a tier nobody is warm for is not offered.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from videofleet.policy import CanaryRule, FallbackRule, FleetPolicy, Track
from videofleet_operator.crd.quantities import duration_s, growth, ratio
from videofleet_operator.crd.spec import VideoGeneratorSpec
from videofleet_operator.manifests.revision import ResolvedRevision
from videofleet_operator.observed import FleetSeen, QueueSeen
from videofleet_operator.plan.counters import (
    failures_in_row,
    memory_above_bytes,
    recovery_above_s,
    slow_above_s,
    slow_together_above_s,
)
from videofleet_operator.plan.rollout import Rollout

VALID_MS: Final = 240_000  # a fleet is looked at every minute; after it a canary gets nothing new


@dataclass(frozen=True)
class Passing:
    """The parts of a policy that hold for a while only."""

    canary: CanaryRule | None = None
    fallback: FallbackRule | None = None
    marks: dict[str, int] = field(default_factory=dict)


def fleet_policy(
    fleet: FleetSeen, spec: VideoGeneratorSpec, serving: ResolvedRevision, epoch: int, passing: Passing
) -> FleetPolicy:
    """What to publish; a new leader publishes the same anew, which shuts its predecessor out."""
    worker = serving.worker
    canary = passing.canary
    on_trial = {canary.revision: Track.CANARY} if canary else {}
    return FleetPolicy(
        fleet=fleet.full_name,
        fleet_uid=fleet.uid,
        epoch=epoch,
        architecture=worker.architecture,
        tiers=worker.tiers,
        tracks={serving.revision: Track.STABLE, **on_trial},
        canary=canary,
        fallback=passing.fallback,
        marks=passing.marks,
        max_depth=spec.queue.max_depth,
        max_attempts=spec.queue.max_attempts,
        batch_max_wait_s=duration_s(spec.queue.batch_max_wait),
        weights=dict(spec.queue.weights or {}),
        tenants=spec.access.tenants,
        store=worker.store,
        output_prefix=spec.output.prefix,
        cache=spec.output.cache,
        retention_s=duration_s(spec.output.retention) if spec.output.retention else None,
    )


def canary_rule(rollout: Rollout | None, spec: VideoGeneratorSpec, queue: QueueSeen | None) -> CanaryRule | None:
    """What the data plane is to know of the canary; None: it gets nothing."""
    if rollout is None or rollout.rising is None or rollout.stable is None:
        return None
    if not rollout.weight and not rollout.status.is_proving:  # its golden prompts are not admitted by weight
        return None
    published = queue.policy.canary if queue and queue.policy else None
    known = published if published is not None and published.revision == rollout.rising else None
    analysis, outcomes, stable = spec.rollout.analysis, queue.outcomes if queue else (), rollout.stable
    in_row = failures_in_row(outcomes, stable, ratio(analysis.false_alarm_rate))
    slower, bigger = growth(analysis.tolerate.seconds_per_step), growth(analysis.tolerate.gpu_memory)
    longer_s = duration_s(analysis.tolerate.recovery_time)
    return CanaryRule(
        revision=rollout.rising,
        weight_permille=rollout.weight,
        sticky_by=spec.rollout.sticky_by,
        max_failures_in_row=known.max_failures_in_row if known else in_row,
        slow_above_s=slow_above_s(outcomes, stable, slower, known.slow_above_s if known else {}),
        slow_together_above_s=slow_together_above_s(
            outcomes, stable, slower, known.slow_together_above_s if known else {}
        ),
        memory_above_bytes=memory_above_bytes(outcomes, stable, bigger, known.memory_above_bytes if known else {}),
        recovery_above_s=recovery_above_s(outcomes, stable, longer_s, known.recovery_above_s if known else None),
    )


def with_validity(policy: FleetPolicy, published: FleetPolicy | None, now: datetime) -> FleetPolicy:
    """Until when its canary, marks and fallback hold, if it has any; renewed when half of the time is over."""
    if policy.canary is None and policy.fallback is None and not policy.marks:
        return policy
    now_ms = int(now.timestamp() * 1000)
    until_ms = published.valid_until_ms if published else None
    if until_ms is None or not now_ms + VALID_MS // 2 < until_ms <= now_ms + VALID_MS:
        until_ms = now_ms + VALID_MS
    return policy.model_copy(update={"valid_until_ms": until_ms})


def is_published(policy: FleetPolicy, published: FleetPolicy | None) -> bool:
    """Whether Redis already has it."""
    return published is not None and published.model_copy(update={"closed": None}) == policy


def is_safe_first(policy: FleetPolicy, published: FleetPolicy | None) -> bool:
    """Whether it may be published before anything is built: it names nobody who was not named before.

    So an abort reaches the workers even while the API server refuses every write.
    """
    return published is not None and set(policy.tracks) <= set(published.tracks)
