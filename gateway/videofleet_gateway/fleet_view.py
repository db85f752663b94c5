"""A fleet as clients see it: an OpenAI model with more. Pure.

Which job a worker has is not told, nor for whom a rule was made: it may be another tenant's business. Canary and
fallback are told as the queue obeys them, which it stops doing when the policy's time is over.
"""

from collections.abc import Sequence
from typing import Any

from videofleet.beacons import WorkerBeacon
from videofleet.jobs import Priority
from videofleet.policy import FleetPolicy
from videofleet_gateway.decisions import Decision, stable_of
from videofleet_gateway.figures import Figures
from videofleet_gateway.tier_choice import spoken_seconds


def model(
    policy: FleetPolicy, figures: Figures, decided: Sequence[Decision], *, is_paused: bool, now_ms: int
) -> dict[str, Any]:
    """Its tiers, best first, what waits and runs, rollout, fallback, workers and the last decisions.

    `created` is not known here.
    """
    return {
        "id": policy.fleet,
        "object": "model",
        "created": 0,
        "owned_by": policy.fleet.partition("/")[0],
        "architecture": policy.architecture,
        "tiers": [
            {"name": tier.name, "size": tier.size, "seconds": spoken_seconds(tier), "fps": tier.fps}
            for tier in policy.tiers
        ],
        "intake": "paused" if is_paused else "open",
        "waiting": figures.stats.waiting,
        "waiting_by_priority": {each: _waiting(figures, each) for each in Priority},
        "running": figures.stats.running,
        "rollout": _rollout(policy, now_ms),
        "fallback": _fallback(policy, now_ms),
        "workers": [_worker(each, policy, now_ms) for each in figures.beacons],
        "decisions": [{"at": each.at_s, "text": each.words} for each in decided],
    }


def _waiting(figures: Figures, priority: Priority) -> int:
    row = figures.stats.by_priority.get(priority)
    return row.jobs if row else 0


def _rollout(policy: FleetPolicy, now_ms: int) -> dict[str, Any]:
    canary = policy.canary
    if canary is None:
        return {"stable": stable_of(policy), "canary": None}
    weight_permille = 0 if _has_lapsed(policy, now_ms) else canary.weight_permille
    told = {"revision": canary.revision, "weight_percent": weight_permille / 10}
    return {"stable": stable_of(policy), "canary": told}


def _has_lapsed(policy: FleetPolicy, now_ms: int) -> bool:
    """Its author is away: the queue gives nothing new to the canary and lowers no tier."""
    return policy.valid_until_ms is not None and policy.valid_until_ms <= now_ms


def _fallback(policy: FleetPolicy, now_ms: int) -> dict[str, Any] | None:
    rule = policy.fallback
    if rule is None or _has_lapsed(policy, now_ms):
        return None
    return {"tier": rule.tier, "share_percent": rule.share_permille / 10, "cause": rule.cause}


def _worker(beacon: WorkerBeacon, policy: FleetPolicy, now_ms: int) -> dict[str, Any]:
    return {
        "name": beacon.worker,
        "revision": beacon.revision,
        "state": beacon.state,
        "detail": beacon.detail,
        "busy": beacon.job is not None,
        "leaving": policy.marks.get(beacon.worker, 0) > now_ms,
    }
