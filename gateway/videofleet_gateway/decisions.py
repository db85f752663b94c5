"""What was decided about a fleet lately, read off the policies that followed one another. Pure.

Each sentence is for people and names no tenant. A replica tells what it has seen since it started.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from videofleet.policy import CanaryRule, FallbackRule, FleetPolicy, Track

MOST: Final = 10


@dataclass(frozen=True)
class Decision:
    """One change, as it was noticed."""

    at_s: int  # Unix seconds
    words: str


def decisions(before: FleetPolicy, after: FleetPolicy) -> Iterator[str]:
    """What is different, most weighty first."""
    if after.closed and not before.closed:
        yield "the fleet was deleted"
    old, new = stable_of(before), stable_of(after)
    if old != new:
        yield f"stable is now {new}, was {old}"
    yield from _canary(before.canary, after.canary, new)
    yield from _fallback(before.fallback, after.fallback)
    for worker in sorted(after.marks.keys() - before.marks.keys()):
        yield f"{worker} is to finish and go"
    if before.tiers != after.tiers:
        yield f"tiers are now {', '.join(tier.name for tier in after.tiers)}"


def stable_of(policy: FleetPolicy) -> str | None:
    """The revision that serves."""
    return next((revision for revision, track in policy.tracks.items() if track is Track.STABLE), None)


def share(permille: int) -> str:
    """Example: 5 → 0.5 %, 250 → 25 %."""
    return f"{permille / 10:g} %"


def _canary(before: CanaryRule | None, after: CanaryRule | None, stable: str | None) -> Iterator[str]:
    if before is not None and (after is None or after.revision != before.revision):
        yield f"canary {before.revision} " + ("was promoted" if before.revision == stable else "was given up")
    if after is not None and (before is None or after.revision != before.revision):
        yield f"canary {after.revision} began with {share(after.weight_permille)} of the jobs"
    elif after is not None and before is not None and after.weight_permille != before.weight_permille:
        yield f"canary {after.revision} goes from {share(before.weight_permille)} to {share(after.weight_permille)}"


def _fallback(before: FallbackRule | None, after: FallbackRule | None) -> Iterator[str]:
    if after is not None and (
        before is None or (after.tier, after.share_permille) != (before.tier, before.share_permille)
    ):
        yield f"{share(after.share_permille)} of the jobs are made in tier {after.tier}: {after.cause}"
    elif after is None and before is not None:
        yield "every job gets its own tier again"
