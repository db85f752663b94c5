"""Whether a canary is as good as stable: evidence taken in look by look, and what it says so far.

Two questions a metric, each by e-values over the same blocks (`evalues`). *Worse than stable?* A mixture over odds
that are 1.5 to 30 times stable's; all metrics together reject a canary as good as stable with `falseAlarmRate` at
most, however often one looks. *Within what spec tolerates?* Every metric must prove it at that same rate before the
canary is promoted; in between it is held. Stable's share of bad jobs is learned on the way, always from before the
block.

Recovery time is about events, not jobs: as long as nothing breaks there is nothing to prove. Stable may have had none
either, so its test has one stream, against a share that stable's own recoveries cannot exceed (`recovery_above_s`).
GPU memory has to be proven only where it is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil, exp, floor, log
from typing import Final

from videofleet_operator.crd.quantities import ratio
from videofleet_operator.crd.rollout_status import Evidence, MetricEvidence, Seen
from videofleet_operator.crd.sections.rollout import Analysis, Tolerate
from videofleet_operator.plan.evalues import Block, good_factor, share_factor, worse_factor
from videofleet_operator.plan.times import timestamp

ODDS: Final = (1.5, 2.0, 3.0, 6.0, 30.0)  # of the alternatives, as multiples of stable's
SLOW_MARGIN: Final = 0.2  # more slow jobs than stable has, that are tolerated; how slow is slow is the user's
MOST_SLOW_RECOVERIES: Final = 1 / 3  # that take three times the mean, whatever their distribution
SLOW_RECOVERIES: Final = (0.5, 0.7, 0.85, 0.95, 0.99)  # shares of the alternatives
_PRIOR_JOBS: Final = 10.0  # what stable's share is drawn to before it has shown any
_PRIOR_BAD: Final = 0.2
_CANARY_PRIOR_JOBS: Final = 20.0
_NATS_MOST: Final = 10_000_000


@dataclass(frozen=True)
class Metric:
    """A share of bad jobs."""

    name: str
    jobs: Callable[[Seen], int]
    bad: Callable[[Seen], int]
    margin: Callable[[Tolerate], float]
    share: float  # of the false-alarm rate
    is_event: bool = False  # it may never happen, and then there is nothing to prove
    is_measured: Callable[[Seen], bool] = lambda _: True  # whether a track's workers can tell


METRICS: Final = (
    Metric("errorRate", lambda seen: seen.attempts, lambda seen: seen.failures, lambda t: ratio(t.error_rate), 0.4),
    Metric(
        "rejectedRate", lambda seen: seen.attempts, lambda seen: seen.rejected, lambda t: ratio(t.rejected_rate), 0.2
    ),
    Metric("secondsPerStep", lambda seen: seen.timed, lambda seen: seen.slow, lambda _: SLOW_MARGIN, 0.2),
    Metric(
        "gpuMemory",
        lambda seen: seen.weighed,
        lambda seen: seen.hungry,
        lambda _: SLOW_MARGIN,
        0.1,
        is_measured=lambda seen: seen.measured > 0,
    ),
    Metric("recoveryTime", lambda seen: seen.recoveries, lambda seen: seen.slow_recoveries, lambda _: 0, 0.1, True),
)


@dataclass(frozen=True)
class Judgement:
    """What the evidence says."""

    failed: str | None  # the metric that is worse
    proven: float  # share of the evidence that promotion needs, 0 to 1, of the metric that has least
    jobs_needed: int | None  # more canary jobs until then, about; None: cannot be said yet
    words: str


def first_look(canary: Seen, stable: Seen, now: datetime) -> Evidence:
    """Nothing counts that was before."""
    return Evidence(
        looked=timestamp(now),
        canary_seen=canary,
        stable_seen=stable,
        step_began=0,
        metrics=[
            MetricEvidence(
                name=metric.name, canary=0, canary_bad=0, stable=0, stable_bad=0, worse=[0] * len(ODDS), good=0, proof=0
            )
            for metric in METRICS
        ],
    )


def is_current(evidence: Evidence) -> bool:
    """Whether it is about the metrics of this version."""
    return [known.name for known in evidence.metrics] == [metric.name for metric in METRICS]


def is_worth_a_look(evidence: Evidence, canary: Seen, stable: Seen) -> bool:
    """Whether both tracks have finished something since the last look, or the canary has had an event."""
    return _block(METRICS[0], evidence, canary, stable).is_comparison or any(
        metric.is_event and _block(metric, evidence, canary, stable).canary for metric in METRICS
    )


def look(evidence: Evidence, canary: Seen, stable: Seen, analysis: Analysis, now: datetime) -> Evidence:
    """With what both tracks finished since the last look taken in. Every look must be remembered before the next."""
    metrics = [
        _with_events(known, _block(metric, evidence, canary, stable))
        if metric.is_event
        else _with_block(known, _block(metric, evidence, canary, stable), metric.margin(analysis.tolerate))
        for metric, known in zip(METRICS, evidence.metrics, strict=True)
    ]
    fields = {"looked": timestamp(now), "canary_seen": canary, "stable_seen": stable, "metrics": metrics}
    return evidence.model_copy(update=fields)


def judgement(evidence: Evidence, analysis: Analysis) -> Judgement:
    """What it says so far."""
    rate = ratio(analysis.false_alarm_rate)
    enough = log(1 / rate)
    worse = next(
        (
            known
            for metric, known in zip(METRICS, evidence.metrics, strict=True)
            if log_mean_exp(known.worse) >= enough - log(metric.share)
        ),
        None,
    )
    to_prove = _to_prove(evidence)
    least = min(to_prove, key=lambda known: known.proof)
    proven = min(1.0, least.proof / 1000 / enough)
    shown = worse or least
    counts = f"{shown.canary_bad} of {shown.canary} bad, stable's {shown.stable_bad} of {shown.stable}"
    if worse is not None:
        return Judgement(worse.name, proven, None, f"Worse than stable in {worse.name}: {counts}")
    words = "Good" if proven == 1 else f"{floor(100 * proven)}% of the evidence for promotion"
    return Judgement(None, proven, _jobs_needed(to_prove, enough), f"{words}; {least.name}: {counts}")


def log_mean_exp(thousandths: list[int]) -> float:
    """Logarithm of the mixture's e-value."""
    top = max(thousandths) / 1000
    return top + log(sum(exp(value / 1000 - top) for value in thousandths) / len(thousandths))


def _to_prove(evidence: Evidence) -> list[MetricEvidence]:
    """Those that have to be good enough before anything is promoted."""
    seen = evidence.canary_seen, evidence.stable_seen
    return [
        known
        for metric, known in zip(METRICS, evidence.metrics, strict=True)
        if not metric.is_event and any(map(metric.is_measured, seen))
    ]


def _jobs_needed(to_prove: list[MetricEvidence], enough: float) -> int | None:
    needed = 0
    for known in to_prove:
        lacking = enough * 1000 - known.proof
        if lacking > 0 and (known.good <= 0 or not known.canary):
            return None
        if lacking > 0:
            needed = max(needed, ceil((enough * 1000 - known.good) * known.canary / known.good))
    return needed


def _block(metric: Metric, evidence: Evidence, canary: Seen, stable: Seen) -> Block:
    def grown(count: Callable[[Seen], int], now: Seen, before: Seen) -> int:
        return max(0, count(now) - count(before))

    jobs, bad = metric.jobs, metric.bad
    canary_jobs = grown(jobs, canary, evidence.canary_seen)
    stable_jobs = grown(jobs, stable, evidence.stable_seen)
    return Block(
        canary=canary_jobs,
        canary_bad=min(canary_jobs, grown(bad, canary, evidence.canary_seen)),
        stable=stable_jobs,
        stable_bad=min(stable_jobs, grown(bad, stable, evidence.stable_seen)),
    )


def _with_block(known: MetricEvidence, block: Block, margin: float) -> MetricEvidence:
    if not block.is_comparison:
        return known
    stable = (known.stable_bad + _PRIOR_BAD) / (known.stable + _PRIOR_JOBS)
    against = [
        _thousandths(before / 1000 + worse_factor(block, _with_odds(stable, odds), stable))
        for before, odds in zip(known.worse, ODDS, strict=True)
    ]
    expected = (known.canary_bad + _CANARY_PRIOR_JOBS * stable) / (known.canary + _CANARY_PRIOR_JOBS)
    if stable < 1 - 2 * margin:
        canary = min(expected, stable + margin / 2)
        good = _thousandths(known.good / 1000 + good_factor(block, canary, stable, margin))
    else:
        good = known.good  # stable is so bad that nothing can be so much worse; people decide
    return MetricEvidence(
        name=known.name,
        canary=known.canary + block.canary,
        canary_bad=known.canary_bad + block.canary_bad,
        stable=known.stable + block.stable,
        stable_bad=known.stable_bad + block.stable_bad,
        worse=against,
        good=good,
        proof=max(known.proof, good),
    )


def _with_events(known: MetricEvidence, block: Block) -> MetricEvidence:
    against = [
        _thousandths(before / 1000 + share_factor(block.canary, block.canary_bad, share, MOST_SLOW_RECOVERIES))
        for before, share in zip(known.worse, SLOW_RECOVERIES, strict=True)
    ]
    counts = {
        "canary": known.canary + block.canary,
        "canary_bad": known.canary_bad + block.canary_bad,
        "stable": known.stable + block.stable,
        "stable_bad": known.stable_bad + block.stable_bad,
    }
    return known.model_copy(update={"worse": against} | counts)


def _with_odds(share: float, times: float) -> float:
    odds = share / (1 - share) * times
    return odds / (1 + odds)


def _thousandths(nats: float) -> int:
    """Rounded down: never more evidence than there is."""
    return max(-_NATS_MOST, min(_NATS_MOST, floor(nats * 1000)))
