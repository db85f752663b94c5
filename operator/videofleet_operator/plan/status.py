"""The status to write, or that there is nothing to write.

Invariant: the same observation twice writes once. Queue figures are rounded and alone cause a write every
30 s at most.
"""

import math
from datetime import datetime
from typing import Any, Final, Literal

from videofleet.jobs import QueueStats
from videofleet_operator.crd.fallback_status import FallbackStatus
from videofleet_operator.crd.rollout_status import RolloutStatus
from videofleet_operator.crd.scaling_status import ScalingStatus
from videofleet_operator.crd.status import MESSAGE_MAX, Condition, Decoders, FleetStatus, QueueFigures, Revisions
from videofleet_operator.observed import Observed
from videofleet_operator.plan.conditions import Verdict
from videofleet_operator.plan.faults import decoder_fault
from videofleet_operator.plan.revisions import Roles
from videofleet_operator.plan.times import moment, timestamp

QUEUE_WRITE_EVERY_S: Final = 30


def next_status(
    observed: Observed,
    roles: Roles,
    rollout: RolloutStatus,
    verdicts: list[Verdict],
    now: datetime,
    scaling: ScalingStatus | None = None,
    fallback: FallbackStatus | None = None,
) -> dict[str, Any] | None:
    """The whole new status; None when the present one still tells the truth."""
    old = observed.fleet.status
    status = FleetStatus(
        observed_generation=observed.fleet.generation,
        conditions=[_condition(verdict, observed, now) for verdict in verdicts],
        replicas=sum(max(seen.wanted, seen.existing) for seen in observed.deployments),
        ready_replicas=sum(pod.is_ready and not pod.is_terminating for pod in observed.pods),
        decoders=_decoders(observed),
        revisions=Revisions(stable=roles.stable, target=roles.target),
        rollout=rollout,
        scaling=scaling,
        fallback=fallback,
        queue=_figures(observed.queue.stats, now) if observed.queue else None,
    )
    new: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return new if _is_news(old, new, now) else None


def _condition(verdict: Verdict, observed: Observed, now: datetime) -> Condition:
    status: Literal["True", "False"] = "True" if verdict.holds else "False"
    conditions: list[dict[str, str]] = observed.fleet.status.get("conditions", [])
    before: dict[str, str] = next((c for c in conditions if c.get("type") == verdict.type), {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return Condition(
        type=verdict.type,
        status=status,
        reason=verdict.reason.value,
        message=verdict.message[:MESSAGE_MAX],
        last_transition_time=since or timestamp(now),
        observed_generation=observed.fleet.generation,
    )


def _is_news(old: dict[str, Any], new: dict[str, Any], now: datetime) -> bool:
    before, after = old.get("queue"), new.get("queue")
    if _ours(old, new) != _ours(new, new) or (before is None) != (after is None):
        return True
    if before is None or (_without_time(before), _said(old)) == (_without_time(after), _said(new)):
        return False
    return (now - moment(before.get("updated"), now)).total_seconds() >= QUEUE_WRITE_EVERY_S


def _ours(status: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What we write, without the queue: conditions and fields of others are none of our business."""
    types = {condition["type"] for condition in new["conditions"]}
    conditions = [c for c in status.get("conditions", []) if c.get("type") in types]
    lasting = {key: status.get(key) for key in new if key not in ("queue", "scaling")}
    return lasting | {"conditions": conditions, "scaling": _decided(status)}


def _decided(status: dict[str, Any]) -> tuple[Any, ...]:
    """The part of scaling that is news at once; its sentence of the moment is a figure like those of the queue."""
    scaling = status.get("scaling") or {}
    return scaling.get("desired"), scaling.get("history"), scaling.get("reason") == "ResourceShort"


def _said(status: dict[str, Any]) -> Any:
    return (status.get("scaling") or {}).get("message")


def _without_time(figures: Any) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "updated"}


def _decoders(observed: Observed) -> Decoders | None:
    replicas = sum(max(seen.wanted, seen.existing) for seen in observed.decoders)
    if not replicas:
        return None
    fault = decoder_fault(observed)
    message = f"{fault.reason}: {fault.message} Workers decode meanwhile." if fault else None
    return Decoders(replicas=replicas, ready=sum(seen.ready for seen in observed.decoders), message=message)


def _figures(stats: QueueStats, now: datetime) -> QueueFigures:
    return QueueFigures(
        waiting=rounded(stats.waiting), running=stats.running, wait=_wait(stats.oldest_wait_s), updated=timestamp(now)
    )


def _wait(seconds: float) -> str:
    """Rounded up to 15 s, later to minutes: 0s, 45s, 3m."""
    return f"{math.ceil(seconds / 15) * 15}s" if seconds <= 105 else f"{math.ceil(seconds / 60)}m"


def rounded(count: int) -> int:
    """Two significant digits: 7 → 7, 99 → 99, 123 → 120, 4567 → 4600."""
    magnitude: int = 10 ** max(0, len(str(count)) - 2)
    return (count + magnitude // 2) // magnitude * magnitude
