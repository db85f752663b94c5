"""Revisions that were turned down: remembered while the spec still names them."""

from datetime import datetime
from typing import Final

from videofleet_operator.crd.rollout_status import REJECTED_LIMIT, Phase, Rejection, RolloutStatus
from videofleet_operator.plan.times import timestamp

_TEXT_MAX: Final = 512


def is_rejected(status: RolloutStatus, revision: str) -> bool:
    """Whether a rejection of the revision stands."""
    return any(one.revision == revision and one.stands for one in status.rejected)


def rejected(status: RolloutStatus, revision: str, message: str, now: datetime) -> RolloutStatus:
    """The canary turned down; the trial is over."""
    others = [one for one in status.rejected if one.revision != revision]
    entry = Rejection(revision=revision, message=message[:_TEXT_MAX], at=timestamp(now), stands=True)
    return RolloutStatus(
        phase=Phase.REJECTED,
        stable_revision=status.stable_revision,
        standby_revision=status.standby_revision,
        comparison=status.comparison,
        since=timestamp(now),
        verdict=message[:_TEXT_MAX],
        samples=status.samples,
        rejected=[*others, entry][-REJECTED_LIMIT:],
        undo=status.undo,
        last_command=status.last_command,
    )


def retried(status: RolloutStatus, revision: str) -> RolloutStatus:
    """The rejection does not stand any more."""
    lifted = [one.model_copy(update={"stands": False}) if one.revision == revision else one for one in status.rejected]
    return status.model_copy(update={"rejected": lifted})


def of_this_spec(status: RolloutStatus, asked: str) -> RolloutStatus:
    """Without what held for a revision that the spec does not name any more."""
    lifted = [one if one.revision == asked else one.model_copy(update={"stands": False}) for one in status.rejected]
    undo = status.undo if status.undo is not None and status.undo.instead == asked else None
    return status.model_copy(update={"rejected": lifted, "undo": undo})
