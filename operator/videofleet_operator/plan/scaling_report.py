"""Decisions of scaling for people: `status.scaling` with its history, and Events."""

import json
from datetime import datetime
from typing import Any

from videofleet_operator.crd.scaling_status import HISTORY_MAX, SENTENCE_MAX, ScalingStatus, ScalingStep
from videofleet_operator.plan.events import EventNote
from videofleet_operator.plan.scaled import Scaled
from videofleet_operator.plan.scaling import Decision
from videofleet_operator.plan.times import timestamp


def scaling_status(old: dict[str, Any] | None, scaled: Scaled, now: datetime) -> ScalingStatus | None:
    """The new `status.scaling`; without a decision the old one stays."""
    before = ScalingStatus.model_validate_json(json.dumps(old)) if old else None
    decision = scaled.decision
    if decision is None:
        return before
    history = list(before.history) if before else []
    earlier = before.desired if before else scaled.before
    if earlier != decision.desired:
        history.insert(0, _step(earlier, decision, now))
    return ScalingStatus(
        desired=decision.desired,
        reason=decision.reason.value,
        message=_sentence(decision),
        cold_start_seconds=round(scaled.memory.cold_start_s),
        history=history[:HISTORY_MAX],
    )


def scaling_events(old: dict[str, Any] | None, new: ScalingStatus | None) -> list[EventNote]:
    """An Event for each new number, and a Warning when a resource begins to be short."""
    if new is None or old is None:
        return []
    if new.reason == "ResourceShort" and old.get("reason") != new.reason:
        return [EventNote("Warning", new.reason, new.message)]
    if new.desired != old.get("desired"):
        return [EventNote("Normal", new.reason, new.message)]
    return []


def _step(before: int, decision: Decision, now: datetime) -> ScalingStep:
    return ScalingStep(
        at=timestamp(now),
        before=before,
        desired=decision.desired,
        reason=decision.reason.value,
        message=_sentence(decision),
    )


def _sentence(decision: Decision) -> str:
    text = decision.sentence[:SENTENCE_MAX]
    return text[:1].upper() + text[1:]
