"""What a person asks of a rollout, by the annotation `videofleet.dev/rollout: VERB:REVISION[:ANYTHING]`.

Bound to a revision, so that one left in Git does no harm; one that was handled is in `status.rollout.lastCommand` and
not handled again. ANYTHING makes the same command new again. Invariant: a command changes the remembered state and
nothing else.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from videofleet_operator.crd.rollout_status import LastCommand, PauseCause, Phase, RolloutStatus, Undo
from videofleet_operator.plan.rejections import is_rejected, rejected, retried
from videofleet_operator.plan.times import timestamp

TEXT_MAX: Final = 128


class Verb(StrEnum):
    """What can be asked."""

    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    UNDO = "undo"


@dataclass(frozen=True)
class Scene:
    """What a command is judged by."""

    asked: str  # revision of the spec
    stable: str | None
    kept: frozenset[str]  # revisions that can be gone back to
    is_stepped: bool  # whether the canary has steps to go


def obey(status: RolloutStatus, text: str | None, scene: Scene, now: datetime) -> RolloutStatus:
    """The state after the command, if it is a new one."""
    text = text[:TEXT_MAX] if text else None
    if text is None or (status.last_command is not None and status.last_command.text == text):
        return status
    verb, _, rest = text.partition(":")
    revision = rest.partition(":")[0]
    changed, outcome = _changed(status, verb, revision, scene, now)
    told = LastCommand(text=text, at=timestamp(now), outcome=outcome)
    return changed.model_copy(update={"last_command": told})


def _changed(status: RolloutStatus, verb: str, revision: str, scene: Scene, now: datetime) -> tuple[RolloutStatus, str]:
    if verb not in set(Verb):
        return status, f"Ignored: {verb[:20]!r} is none of {', '.join(Verb)}."
    if verb == Verb.UNDO:
        return _undone(status, revision, scene)
    if verb == Verb.RETRY:
        if not is_rejected(status, revision) or revision != scene.asked:
            return status, f"Ignored: revision {revision} is not rejected."
        return retried(status, revision), "Done: it is on trial again from the first step."
    if status.canary_revision is None or revision != status.canary_revision:
        return status, f"Ignored: revision {revision} is not the canary; {status.canary_revision or 'none'} is."
    return _of_canary(status, Verb(verb), revision, scene, now)


def _of_canary(
    status: RolloutStatus, verb: Verb, revision: str, scene: Scene, now: datetime
) -> tuple[RolloutStatus, str]:
    if verb == Verb.ABORT:
        return rejected(status, revision, "Aborted by command", now), "Done: it gets no more jobs."
    if not scene.is_stepped:
        return status, "Ignored: without steps it takes over as soon as its workers are warm; `abort` stops it."
    if verb == Verb.PROMOTE:
        return _at(status, now, phase=Phase.PROMOTING), "Done: it takes over as its workers are warm."
    if status.phase not in (Phase.STEPPING, Phase.PAUSED):
        return status, f"Ignored: in phase {status.phase} there is no step to hold."
    if verb == Verb.PAUSE:
        return _at(status, now, phase=Phase.PAUSED, paused=PauseCause.COMMAND), "Done: it keeps its weight."
    if status.paused is None:
        return status, "Ignored: it is not paused."
    if status.paused == PauseCause.MANUAL_GATE:
        return _at(status, now, phase=Phase.STEPPING, is_approved=True), "Done: it goes on to the next step."
    phase = Phase.PROVING if status.is_proving else Phase.STEPPING
    return _at(status, now, phase=phase), "Done: the step goes on, with all its time again."


def _undone(status: RolloutStatus, revision: str, scene: Scene) -> tuple[RolloutStatus, str]:
    if revision == scene.asked:
        return status.model_copy(update={"undo": None}), "Done: the revision of the spec it is."
    if revision not in scene.kept:
        kept = ", ".join(sorted(scene.kept)) or "none"
        return status, f"Ignored: revision {revision} is not kept; kept are {kept}."
    undo = Undo(revision=revision, instead=scene.asked)
    return status.model_copy(update={"undo": undo}), "Done: it takes over as its workers are warm."


def _at(
    status: RolloutStatus, now: datetime, *, phase: Phase, paused: PauseCause | None = None, is_approved: bool = False
) -> RolloutStatus:
    fields = {"phase": phase, "paused": paused, "since": timestamp(now), "is_approved": is_approved}
    return status.model_copy(update=fields)
