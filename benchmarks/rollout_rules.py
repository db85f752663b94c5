"""Rules that decide about a canary, on the same jobs: ours as the operator runs it, Wald's SPRT, Flagger's, Argo's.

Flagger and Argo see twenty canary jobs in each of ten intervals, which is kinder than life: an interval without a job
is a failed check to Flagger and an error to Argo.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np

from videofleet.jobs import Outcomes, QueueStats
from videofleet_operator.crd.rollout_status import Phase, RolloutStatus
from videofleet_operator.crd.sections.rollout import Rollout
from videofleet_operator.observed import QueueSeen
from videofleet_operator.plan.counters import seen_of
from videofleet_operator.plan.trial import LOOK_EVERY_S, Trial, next_state

INTERVAL_JOBS, INTERVALS = 20, 10
FLAGGER_SUCCESS, FLAGGER_THRESHOLD = 0.99, 5  # of its documentation's example; failed checks until it rolls back
ARGO_SUCCESS, ARGO_FAILURE_LIMIT = 0.95, 0  # of its documentation's example; its default
SPREAD = 0.1  # standard deviation of a job's seconds per step, as a share of the mean
LOOK_JOBS = 5  # of the canary between two looks


@dataclass(frozen=True)
class World:
    """How jobs really are."""

    stable_bad: float
    canary_bad: float
    pace: float = 1.0  # the canary's seconds per step, stable's being 1


@dataclass(frozen=True)
class End:
    """How a rollout ended."""

    outcome: str  # promoted, rejected, open
    jobs: int  # of the canary


class Stream:
    """A canary's jobs, so that every rule sees the same."""

    def __init__(self, world: World, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.world = world
        self.bad = self._random.random(60_000) < world.canary_bad

    def stable_bad(self, jobs: int) -> int:
        """How many of so many jobs of stable are bad."""
        return int(self._random.binomial(jobs, self.world.stable_bad))

    def slow(self, jobs: int, pace: float, above: float) -> int:
        """How many of so many jobs take longer a step."""
        return int((self._random.normal(pace, SPREAD, jobs) > above).sum())


def ours(stream: Stream, rules: Rollout, most: int) -> End:
    """The operator's own planner, look by look, until it decides or the canary has had `most` jobs."""
    status, now = RolloutStatus(phase=Phase.WARMING_UP), datetime(2026, 1, 1, tzinfo=UTC)
    rows = {name: Outcomes(revision=name, tier="t") for name in ("canary", "stable")}
    steps = rules.steps or []
    while rows["canary"].attempts < most:
        queue = QueueSeen(QueueStats(waiting=0, running=0, oldest_wait_s=0), (), None, tuple(rows.values()))
        status = next_state(status, Trial(rules, queue, "canary", "stable", 1, now))
        if status.phase in (Phase.REJECTED, Phase.PROMOTING):
            outcome = "rejected" if status.phase == Phase.REJECTED else "promoted"
            return End(outcome, seen_of(rows.values(), "canary").attempts)
        weight = steps[max(1, status.step) - 1].weight_permille / 1000
        serve(stream, rows, max(1, round(LOOK_JOBS * (1 - weight) / weight)))
        now += timedelta(seconds=LOOK_EVERY_S)
    return End("open", rows["canary"].attempts)


def serve(stream: Stream, rows: dict[str, Outcomes], stable_jobs: int) -> None:
    """Jobs of both tracks between two looks."""
    canary, stable = rows["canary"], rows["stable"]
    bad = int(stream.bad[canary.attempts : canary.attempts + LOOK_JOBS].sum())
    rows["canary"] = grown(canary, LOOK_JOBS, bad, stream.slow(LOOK_JOBS - bad, stream.world.pace, 1.25))
    bad = stream.stable_bad(stable_jobs)
    rows["stable"] = grown(stable, stable_jobs, bad, stream.slow(stable_jobs - bad, 1.0, 1.25))


def grown(row: Outcomes, jobs: int, bad: int, slow: int) -> Outcomes:
    """The counters after some more jobs."""
    return row.model_copy(
        update={
            "attempts": row.attempts + jobs,
            "attempt_failures": row.attempt_failures + bad,
            "paced": row.paced + jobs - bad,
            "slow": row.slow + slow,
        }
    )


def wald(stream: Stream, good: float, bad: float, rate: float) -> End:
    """The sequential probability ratio test, which is told both shares of bad jobs beforehand; no test needs fewer."""
    upper, lower, evidence = log((1 - rate) / rate), log(rate / (1 - rate)), 0.0
    for job, is_bad in enumerate(stream.bad, 1):
        evidence += log(bad / good) if is_bad else log((1 - bad) / (1 - good))
        if evidence >= upper:
            return End("rejected", job)
        if evidence <= lower:
            return End("promoted", job)
    return End("open", len(stream.bad))


def flagger(stream: Stream) -> End:
    """A check an interval; a rollback at the threshold of failed checks, which a good check does not take back."""
    failed = 0
    for interval, success in successes(stream):
        failed += success < FLAGGER_SUCCESS
        if failed >= FLAGGER_THRESHOLD:
            return End("rejected", interval * INTERVAL_JOBS)
    return End("promoted", INTERVALS * INTERVAL_JOBS)


def argo(stream: Stream) -> End:
    """A measurement an interval; one more failed than the limit aborts."""
    failed = 0
    for interval, success in successes(stream):
        failed += success < ARGO_SUCCESS
        if failed > ARGO_FAILURE_LIMIT:
            return End("rejected", interval * INTERVAL_JOBS)
    return End("promoted", INTERVALS * INTERVAL_JOBS)


def successes(stream: Stream) -> Iterator[tuple[int, float]]:
    """Each interval, from 1, with its share of good jobs."""
    for interval in range(INTERVALS):
        jobs = stream.bad[interval * INTERVAL_JOBS : (interval + 1) * INTERVAL_JOBS]
        yield interval + 1, 1 - float(jobs.mean())
