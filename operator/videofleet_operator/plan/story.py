"""What conditions and events say of a rollout, from what status keeps of it."""

from typing import Any

from videofleet_operator.crd.rollout_status import PauseCause, Phase, RolloutStatus
from videofleet_operator.plan.events import EventNote
from videofleet_operator.plan.rejections import is_rejected
from videofleet_operator.reasons import MEANINGS, Reason

_PAUSES = {
    PauseCause.COMMAND: Reason.CANARY_PAUSED,
    PauseCause.MANUAL_GATE: Reason.AWAITING_APPROVAL,
    PauseCause.INSUFFICIENT_EVIDENCE: Reason.INSUFFICIENT_EVIDENCE,
}


def rollout_progress(rollout: RolloutStatus) -> tuple[bool, Reason, str] | None:
    """Whether, why and in what words a rollout is under way; None when it has nothing to say."""
    where = f"Canary {rollout.canary_revision} at step {rollout.step} has {rollout.weight} of the jobs"
    if rollout.is_proving:
        where = f"Canary {rollout.canary_revision} has golden prompts to render and no other jobs"
    said = f" {rollout.verdict}." if rollout.verdict else ""
    match rollout.phase:
        case Phase.PROVING:
            words = f"Canary {rollout.canary_revision}: {rollout.verdict or 'golden prompts are queued'}."
            return True, Reason.GOLDEN_PROMPTS, f"{words} {MEANINGS[Reason.GOLDEN_PROMPTS]}"
        case Phase.STEPPING:
            eta = f" Enough evidence about {rollout.eta}." if rollout.eta else ""
            return True, Reason.CANARY_AT_STEP, f"{where}.{said}{eta}"
        case Phase.PROMOTING:
            words = f"{MEANINGS[Reason.CANARY_PROMOTED]} It has {rollout.weight} of the jobs."
            return True, Reason.CANARY_PROMOTED, words
        case Phase.PAUSED:
            reason = _PAUSES[rollout.paused or PauseCause.COMMAND]
            return False, reason, f"{where}.{said} {MEANINGS[reason]}"
        case _:
            return None


def rollout_setback(rollout: RolloutStatus, target: str | None) -> tuple[Reason, str] | None:
    """Why the revision that the spec names does not serve though nothing is wrong with the one that does."""
    if rollout.phase == Phase.REJECTED and target is not None and is_rejected(rollout, target):
        why = next(one.message for one in rollout.rejected if one.revision == target and one.stands)
        return Reason.CANARY_REJECTED, f"Revision {target}: {why.rstrip('.')}. {MEANINGS[Reason.CANARY_REJECTED]}"
    undo = rollout.undo
    if undo is not None and undo.cause is not None:
        words = f"Revision {undo.failed} gives way to its standby {undo.revision}: {undo.cause.rstrip('.')}."
        return Reason.STANDBY_ACTIVE, f"{words} {MEANINGS[Reason.STANDBY_ACTIVE]}"
    if rollout.phase == Phase.UNDONE and undo is not None:
        words = f"Revision {undo.instead} of the spec was undone. {MEANINGS[Reason.UNDONE]}"
        return Reason.UNDONE, words
    return None


def rollout_events(old: dict[str, Any] | None, new: RolloutStatus) -> list[EventNote]:
    """An Event for each step, pause and promotion of a canary; a rejection is told by its condition."""
    before = (old or {}).get("phase"), (old or {}).get("step", 0), (old or {}).get("canaryRevision")
    progress = rollout_progress(new)
    if progress is None or before == (new.phase, new.step, new.canary_revision):
        return []
    _, reason, words = progress
    return [EventNote("Normal", reason, words)]
