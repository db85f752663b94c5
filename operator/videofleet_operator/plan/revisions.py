"""What becomes of every revision by the rollout: active, retiring or discarded.

retiring  everything but stable and the rising one: no workers, kept for `undo`
discarded kept ones beyond the limit, oldest first but never the standby, once their last worker is gone
"""

from dataclasses import dataclass
from typing import Final

from videofleet_operator.observed import Observed
from videofleet_operator.plan.rollout import Rollout, proven_revision

HISTORY_LIMIT: Final = 5


@dataclass(frozen=True)
class Roles:
    """The part every revision plays now."""

    target: str | None  # None: the spec asks for nothing that can be done
    stable: str | None  # None: nothing was ever proven
    rising: str | None  # the target until it is stable; None when it is, or was rejected
    retiring: tuple[str, ...]
    discarded: tuple[str, ...]

    @property
    def serving(self) -> str | None:
        """Who gets the jobs: with nothing proven there is nothing to protect, and the rising one serves."""
        return self.stable or self.rising

    @property
    def active(self) -> tuple[str, ...]:
        """Revisions that have workers."""
        return tuple(revision for revision in (self.stable, self.rising) if revision is not None)


def assign_roles(observed: Observed, rollout: Rollout | None) -> Roles:
    """Assigns every revision its role; without a rollout, hands off until the spec makes sense again."""
    if rollout is None:
        return Roles(None, proven_revision(observed, None), None, (), ())
    active = {rollout.stable, rollout.rising}
    others = [seen.revision for seen in observed.deployments if seen.revision not in active]
    discarded = _beyond_limit(observed, active | {rollout.target}, rollout.status.standby_revision)
    return Roles(rollout.target, rollout.stable, rollout.rising, tuple(sorted(others)), discarded)


def _beyond_limit(observed: Observed, active: set[str | None], standby: str | None) -> tuple[str, ...]:
    kept = sorted(
        (seen for seen in observed.revisions if seen.revision not in active),
        key=lambda seen: (seen.revision == standby, seen.number),
        reverse=True,
    )
    busy = {pod.revision for pod in observed.pods}
    return tuple(seen.revision for seen in kept[HISTORY_LIMIT:] if seen.revision not in busy)
