"""Fallback of one fleet: from what was observed to the rule in the policy, `status.fallback` and FallbackActive.

The state survives a restart in the status. Nothing moves while Redis does not answer; the rule in
force lapses by itself.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from videofleet.jobs import Priority
from videofleet.policy import FallbackRule
from videofleet_operator.crd.fallback_status import FallbackStatus
from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.spec import VideoGeneratorSpec
from videofleet_operator.manifests.revision import ResolvedRevision
from videofleet_operator.observed import Observed
from videofleet_operator.plan.conditions import Verdict
from videofleet_operator.plan.fallback import (
    FULL,
    LAST_TO_FIRST,
    FallbackRules,
    FallbackState,
    Load,
    Rung,
    plan_fallback,
)
from videofleet_operator.plan.scaled import Scaled, rules_of
from videofleet_operator.plan.scaling import expected_arrivals
from videofleet_operator.plan.times import timestamp
from videofleet_operator.plan.words import duration
from videofleet_operator.reasons import MEANINGS, Reason

CAUSE: Final = "the fleet is under load"


@dataclass(frozen=True)
class Lowered:
    """What fallback makes of one fleet."""

    rule: FallbackRule | None
    status: FallbackStatus
    verdict: Verdict


def lower_fleet(
    observed: Observed, serving: ResolvedRevision, spec: VideoGeneratorSpec, scaled: Scaled, now: datetime
) -> Lowered:
    """Decides for the revision that serves, by its tiers."""
    tiers = serving.worker.tiers
    names = [tier.name for tier in tiers]
    if not spec.fallback.enabled:
        status = FallbackStatus(tier=names[0], share="0%")
        return Lowered(None, status, _verdict(names, FallbackState(), off=True))
    lowest = names.index(spec.fallback.max_tier) if spec.fallback.max_tier in names else len(names) - 1
    rules = FallbackRules(
        costs=tuple(tier.cost / tiers[0].cost for tier in tiers[: lowest + 1]),
        target_wait_s=duration_s(spec.scaling.target_wait),
        step_every_s=duration_s(spec.fallback.step_every),
    )
    state = _remembered(observed.fleet.status.get("fallback"), names)
    if observed.queue is not None:
        load = _load(observed, serving.revision, spec, scaled, now)
        state = plan_fallback(rules, state, load, now.timestamp())
    return Lowered(_rule(names, state), _status(names, state), _verdict(names, state))


def _load(observed: Observed, serving: str, spec: VideoGeneratorSpec, scaled: Scaled, now: datetime) -> Load:
    stats = observed.queue.stats if observed.queue else None
    alive = [pod for pod in observed.pods if pod.revision == serving and not pod.is_terminating]
    ready = sum(pod.is_ready for pod in alive)
    by_priority = stats.by_priority if stats else {}
    waiting_s = {priority: figures.cost_s for priority, figures in by_priority.items()}
    return Load(
        waiting_s=waiting_s,
        arriving=expected_arrivals(scaled.memory, rules_of(spec.scaling, now)),
        ready=ready,
        starting=max(0, scaled.wanted - ready),
        cold_start_s=scaled.memory.cold_start_s,
    )


def _remembered(told: dict[str, Any] | None, names: list[str]) -> FallbackState:
    """The state as the status tells it; a tier that is no more is full quality."""
    if not told or told.get("tier") not in names:
        return FallbackState()
    tier, reach = names.index(told["tier"]), len(told.get("priorities", []))
    moved_s, since_s, until_s = (_seconds(told.get(key)) for key in ("moved", "since", "until"))
    if tier == 0 or reach == 0:
        return FallbackState(moved_s=moved_s)
    return FallbackState(Rung(tier, reach, round(float(told["share"].rstrip("%")) * 10)), moved_s, since_s, until_s)


def _rule(names: list[str], state: FallbackState) -> FallbackRule | None:
    rung = state.rung
    if rung == FULL:
        return None
    return FallbackRule(
        tier=names[rung.tier], share_permille=rung.share_permille, priorities=list(rung.priorities), cause=CAUSE
    )


def _status(names: list[str], state: FallbackState) -> FallbackStatus:
    return FallbackStatus(
        tier=names[state.rung.tier],
        share=f"{state.rung.share_permille // 10}%",
        priorities=list(state.rung.priorities),
        since=_when(state.since_s),
        until=_when(state.until_s),
        moved=_when(state.moved_s),
    )


def _verdict(names: list[str], state: FallbackState, *, off: bool = False) -> Verdict:
    rung = state.rung
    if rung == FULL:
        reason = Reason.FALLBACK_OFF if off else Reason.FULL_QUALITY
        return Verdict("FallbackActive", False, reason, MEANINGS[reason])
    whose = _whose(rung.priorities)
    lasts = duration((state.until_s or 0) - (state.moved_s or 0))
    message = (
        f"{rung.share_permille // 10} % of the {whose}jobs that allow it get {names[rung.tier]}, because otherwise"
        f" they would wait for longer than spec.scaling.targetWait; full quality was expected back {lasts} after that"
        f" was decided, at {_when(state.until_s)}."
    )
    return Verdict("FallbackActive", True, Reason.UNDER_LOAD, message)


def _whose(priorities: tuple[Priority, ...]) -> str:
    """Which jobs, with a blank behind it; nothing when it is all of them."""
    return "" if len(priorities) == len(LAST_TO_FIRST) else " and ".join(priorities) + " "


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(datetime.fromtimestamp(seconds, UTC))


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
