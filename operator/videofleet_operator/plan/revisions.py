"""Which revision serves, which is on its way, and which go.

stable    proven: all wanted workers were Ready at once; remembered by the track label of its Deployment
target    what the spec asks for; becomes stable when it is at least as able as the stable one
retiring  everything else: no workers, kept for later
discarded kept ones beyond the limit, oldest first, once their last worker is gone
"""

from dataclasses import dataclass
from typing import Final

from videofleet_operator.observed import Observed

HISTORY_LIMIT: Final = 5


@dataclass(frozen=True)
class Roles:
    """The part every revision plays now."""

    target: str | None  # None: the spec asks for nothing that can be done
    stable: str | None  # None: nothing was ever proven
    retiring: tuple[str, ...]
    discarded: tuple[str, ...]

    @property
    def serving(self) -> str | None:
        """Who gets the jobs: with nothing proven there is nothing to protect, and the target serves."""
        return self.stable or self.target


def assign_roles(observed: Observed, target: str | None) -> Roles:
    """Assigns every revision its role."""
    if target is None:  # hands off until the spec makes sense again
        return Roles(None, _proven(observed, None), (), ())
    stable = target if _is_able(observed, target) else _proven(observed, target)
    active = {target, stable}
    others = [seen.revision for seen in observed.deployments if seen.revision not in active]
    return Roles(target, stable, tuple(sorted(others)), _beyond_limit(observed, active))


def _proven(observed: Observed, target: str | None) -> str | None:
    """The newest revision with the label; the target, when a promotion was cut off between two labels."""
    numbers = {seen.revision: seen.number for seen in observed.revisions}
    labelled = [seen.revision for seen in observed.deployments if seen.is_stable]
    if target in labelled:
        return target
    return max(labelled, key=lambda revision: numbers.get(revision, 0), default=None)


def _is_able(observed: Observed, target: str) -> bool:
    """Whether the target may take over: all its workers are warm, or one is while the stable one has none."""
    proven = _proven(observed, target)
    if proven == target:
        return True
    deployment = observed.deployment(target)
    needed = max(1, deployment.wanted) if deployment and observed.ready(proven) else 1
    return observed.ready(target) >= needed


def _beyond_limit(observed: Observed, active: set[str | None]) -> tuple[str, ...]:
    kept = sorted(
        (seen for seen in observed.revisions if seen.revision not in active),
        key=lambda seen: seen.number,
        reverse=True,
    )
    busy = {pod.revision for pod in observed.pods}
    return tuple(seen.revision for seen in kept[HISTORY_LIMIT:] if seen.revision not in busy)
