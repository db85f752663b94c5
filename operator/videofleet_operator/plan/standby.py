"""The revision that takes over when the one that serves fails again and again: the one that was stable before it.

One switch a promotion: the standby is used up by it, so that two bad revisions never swing. It is an `undo` that the
operator asks for itself, void like any other as soon as the spec names another revision, or when a person undoes it.
"""

from collections.abc import Set
from datetime import datetime

from videofleet_operator.crd.rollout_status import RolloutStatus, Undo
from videofleet_operator.crd.sections.rollout import Standby
from videofleet_operator.observed import Observed
from videofleet_operator.plan.faults import HOPELESS, revision_fault
from videofleet_operator.plan.times import timestamp


def with_standby(status: RolloutStatus, stable: str) -> RolloutStatus:
    """Whoever was stable before `stable` stands by for it; after an undo nobody does."""
    before = status.stable_revision
    standby = before if before not in (None, stable) and status.undo is None else status.standby_revision
    return status.model_copy(update={"standby_revision": standby if standby != stable else None})


def switched(
    observed: Observed, status: RolloutStatus, rules: Standby | None, asked: str, kept: Set[str], now: datetime
) -> RolloutStatus:
    """The state, gone over to the standby if that is due.

    Args:
        observed: what is there.
        status: the state.
        rules: `spec.rollout.standby`; None: there is none.
        asked: the revision that the spec makes.
        kept: revisions that can be gone back to.
        now: the time.
    """
    standby, serving = status.standby_revision, status.stable_revision
    if rules is None or serving is None or standby not in kept or status.undo or status.canary_revision:
        return status
    cause = _cause(observed, serving, rules.after_failures)
    if standby is None or cause is None:
        return status
    undo = Undo(revision=standby, instead=asked, failed=serving, cause=cause)
    return status.model_copy(update={"undo": undo, "standby_revision": None, "since": timestamp(now)})


def _cause(observed: Observed, serving: str, after_failures: int) -> str | None:
    failing = observed.queue.stats.failing.get(serving, 0) if observed.queue else 0
    if failing >= after_failures:
        return f"attempts of {failing} jobs in a row failed"
    fault = revision_fault(observed, serving)
    if fault is not None and fault.reason in HOPELESS and not observed.ready(serving):
        return f"its workers cannot serve any more ({fault.reason}): {fault.message}"
    return None
