"""What both tracks did while they were on trial side by side: the A/B report of `videofleet rollout report`.

Counted from look to look like the evidence, so both columns cover the same time; it outlives the trial until the next
one begins. Figures for people: nothing is decided by them.
"""

from collections.abc import Iterable

from videofleet.feedback import Feedback
from videofleet.jobs import Outcomes
from videofleet_operator.crd.comparison import Comparison, TrackFigures


def figures_of(outcomes: Iterable[Outcomes], opinions: Iterable[Feedback], revision: str) -> TrackFigures:
    """A revision's counters over all tiers, since it had its first job."""
    rows = [row for row in outcomes if row.revision == revision]
    said = [row for row in opinions if row.revision == revision]
    return TrackFigures(
        attempts=sum(row.attempts for row in rows),
        failures=sum(row.attempt_failures for row in rows),
        rejected=sum(row.rejected for row in rows),
        timed=sum(row.steps for row in rows),
        step_ms=round(sum(row.step_s for row in rows) * 1000),
        waited=sum(row.waited for row in rows),
        wait_ms=round(sum(row.wait_s for row in rows) * 1000),
        liked=sum(row.liked for row in said),
        disliked=sum(row.disliked for row in said),
    )


def begun(canary: str, stable: str, canary_now: TrackFigures, stable_now: TrackFigures, at: str) -> Comparison:
    """Nothing counts that was before."""
    return Comparison(
        canary_revision=canary,
        stable_revision=stable,
        since=at,
        until=at,
        canary=TrackFigures(),
        stable=TrackFigures(),
        canary_seen=canary_now,
        stable_seen=stable_now,
    )


def grown(known: Comparison, canary_now: TrackFigures, stable_now: TrackFigures, at: str) -> Comparison:
    """With what happened since the last look."""
    return known.model_copy(
        update={
            "until": at,
            "canary": _with_more(known.canary, known.canary_seen, canary_now),
            "stable": _with_more(known.stable, known.stable_seen, stable_now),
            "canary_seen": canary_now,
            "stable_seen": stable_now,
        }
    )


def _with_more(known: TrackFigures, before: TrackFigures, now: TrackFigures) -> TrackFigures:
    """A counter that went back, after Redis was restored, adds nothing."""
    names = TrackFigures.model_fields
    more = {name: max(0, getattr(now, name) - getattr(before, name)) for name in names}
    return TrackFigures.model_validate({name: getattr(known, name) + more[name] for name in names})
