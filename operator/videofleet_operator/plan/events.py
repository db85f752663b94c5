"""Events for people: what changed, said once. Only transitions and a few actions are worth one."""

from dataclasses import dataclass
from typing import Any

from videofleet_operator.manifests import names
from videofleet_operator.plan.actions import Action, Apply, MarkTrack, Scale, Stage


@dataclass(frozen=True)
class EventNote:
    """One Event on the VideoGenerator."""

    type: str  # Normal or Warning
    reason: str
    message: str


def action_events(actions: list[Action]) -> list[EventNote]:
    """Events of actions that people care about: revisions start, become stable, retire; workers change."""
    notes = []
    for action in actions:
        match action:
            case Apply(manifest={"kind": "Deployment", "metadata": {"labels": {names.DECODER_LABEL: _}}}):
                notes.append(EventNote("Normal", "Scaled", _sentence(action.why)))
            case Apply(manifest={"kind": "Deployment"}):
                notes.append(EventNote("Normal", "RevisionStarted", _sentence(action.why)))
            case MarkTrack(is_stable=True):
                notes.append(EventNote("Normal", "RevisionStable", _sentence(action.why)))
            case Scale(stage=Stage.RETIRE, replicas=0):
                notes.append(EventNote("Normal", "RevisionRetired", _sentence(action.why)))
            case Scale():
                notes.append(EventNote("Normal", "Scaled", _sentence(action.why)))
    return notes


def transition_events(old: dict[str, Any], new: dict[str, Any] | None) -> list[EventNote]:
    """Events of changed reasons: Ready either way, Degraded when it begins, FallbackActive when it turns."""
    if new is None:
        return []
    before = {c["type"]: (c["status"], c["reason"]) for c in old.get("conditions", [])}
    notes: dict[str, EventNote] = {}
    for condition in new["conditions"]:
        kind, status, reason = condition["type"], condition["status"], condition["reason"]
        is_bad = status == ("True" if kind in ("Degraded", "FallbackActive") else "False")
        had = before.get(kind, ("", ""))[0]
        is_turn = kind == "FallbackActive" and had != status and (is_bad or had)
        worth_it = kind == "Ready" or (kind == "Degraded" and is_bad) or is_turn
        if worth_it and before.get(kind) != (status, reason):
            is_warning = is_bad and reason != "WarmingUp"
            note = EventNote("Warning" if is_warning else "Normal", reason, condition["message"])
            notes.setdefault(reason, note)
    return list(notes.values())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
