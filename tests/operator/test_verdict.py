"""The statistics keep what they promise: by exact sums, by properties, and by many simulated rollouts."""

import itertools
from datetime import UTC, datetime
from math import comb, exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet_operator.crd.rollout_status import Seen
from videofleet_operator.crd.sections.rollout import Analysis, Tolerate
from videofleet_operator.plan.evalues import Block, good_factor, share_factor, worse_factor
from videofleet_operator.plan.verdict import first_look, is_worth_a_look, judgement, look

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0)


def mean_of(factor, jobs, canary, stable):
    """The exact mean of an e-value when bad jobs have these shares."""

    def chance(count, bad, share):
        return comb(count, bad) * share**bad * (1 - share) ** (count - bad)

    return sum(
        chance(jobs[0], a, canary) * chance(jobs[1], b, stable) * exp(factor(Block(jobs[0], a, jobs[1], b)))
        for a, b in itertools.product(range(jobs[0] + 1), range(jobs[1] + 1))
    )


@pytest.mark.parametrize("jobs", [(1, 1), (1, 6), (5, 2), (4, 4)])
@pytest.mark.parametrize("alternative", [(0.03, 0.01), (0.5, 0.02), (0.9, 0.6)])
def test_no_canary_that_is_not_worse_looks_worse_on_average(jobs, alternative):
    for canary, stable in itertools.product(SHARES, SHARES):
        if canary <= stable:
            mean = mean_of(lambda block: worse_factor(block, *alternative), jobs, canary, stable)
            assert mean <= 1 + 1e-9, (canary, stable)


@pytest.mark.parametrize("jobs", [(1, 1), (1, 6), (5, 2), (4, 4)])
@pytest.mark.parametrize("alternative", [(0.01, 0.01), (0.05, 0.02), (0.3, 0.4)])
@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
def test_no_canary_beyond_the_margin_looks_good_on_average(jobs, alternative, margin):
    for stable, more in itertools.product(SHARES, (0.0, 0.1, 0.4)):
        canary = stable + margin + more
        if canary <= 1 and alternative[0] < alternative[1] + margin:
            mean = mean_of(lambda block: good_factor(block, *alternative, margin), jobs, canary, stable)
            assert mean <= 1 + 1e-9, (canary, stable)


@pytest.mark.parametrize("jobs", [1, 4, 9])
def test_no_share_within_the_limit_looks_like_more_on_average(jobs):
    for share, most in itertools.product(SHARES, (0.1, 1 / 3)):
        if share <= most:
            chances = [comb(jobs, bad) * share**bad * (1 - share) ** (jobs - bad) for bad in range(jobs + 1)]
            mean = sum(chance * exp(share_factor(jobs, bad, 0.9, most)) for bad, chance in enumerate(chances))
            assert mean <= 1 + 1e-9


@pytest.mark.parametrize("shape", [0.3, 1.0, 3.0], ids=["heavy-tailed", "exponential", "regular"])
def test_recoveries_as_long_as_stables_reject_as_rarely_as_promised(shape):
    """400 canaries, 200 recoveries each, at a rate of 10 % of which recovery has a tenth: at most 11 (binomial)."""
    analysis, random = Analysis(false_alarm_rate="10%"), np.random.default_rng(20260102)
    assert sum(is_found_slow(random.gamma(shape, 20 / shape, 200), 60, analysis) for _ in range(400)) <= 11


def test_ten_recoveries_that_all_take_too_long_reject():
    assert is_found_slow([300] * 10, 180, Analysis())
    assert not is_found_slow([300] * 4, 180, Analysis())


def is_found_slow(times_s, limit_s, analysis):
    evidence = first_look(seen(0, 0), seen(0, 0), NOW)
    for count in range(1, len(times_s) + 1):
        slow = sum(time_s > limit_s for time_s in times_s[:count])
        now = seen(0, 0).model_copy(update={"recoveries": count, "slow_recoveries": slow})
        assert is_worth_a_look(evidence, now, seen(0, 0))
        evidence = look(evidence, now, seen(0, 0), analysis, NOW)
        if judgement(evidence, analysis).failed:
            return True
    return False


COUNTS = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))


@given(st.lists(COUNTS, max_size=30))
def test_any_counters_give_a_verdict(steps):
    """Whatever Redis counts, more bad than jobs and counters that went back included."""
    analysis, evidence = Analysis(), first_look(seen(0, 0), seen(0, 0), NOW)
    for jobs, bad, stable_jobs, stable_bad in steps:
        canary, stable = seen(jobs, bad), seen(stable_jobs, stable_bad)
        if is_worth_a_look(evidence, canary, stable):
            evidence = look(evidence, canary, stable, analysis, NOW)
    verdict = judgement(evidence, analysis)
    assert 0 <= verdict.proven <= 1
    assert verdict.jobs_needed is None or verdict.jobs_needed >= 0


@given(st.integers(1, 400), st.integers(1, 400))
def test_more_bad_jobs_are_never_better(jobs, stable_jobs):
    analysis = Analysis()
    start = first_look(seen(0, 0), seen(0, 0), NOW)
    looks = [
        look(start, seen(jobs, bad), seen(stable_jobs, 0), analysis, NOW).metrics[0] for bad in range(0, jobs + 1, 7)
    ]
    assert all(after.worse[2] >= before.worse[2] for before, after in itertools.pairwise(looks))
    assert all(after.good <= before.good for before, after in itertools.pairwise(looks))


def test_without_jobs_of_both_nothing_is_said():
    evidence = first_look(seen(0, 0), seen(0, 0), NOW)
    assert not is_worth_a_look(evidence, seen(30, 0), seen(0, 0))
    assert not is_worth_a_look(evidence, seen(0, 0), seen(30, 0))
    assert judgement(evidence, Analysis()).jobs_needed is None


def test_a_metric_in_which_nothing_happens_needs_ninety_jobs_at_the_default_tolerance():
    evidence, jobs = first_look(seen(0, 0), seen(0, 0), NOW), 0
    while judgement(evidence, Analysis()).proven < 1:
        jobs += 1
        evidence = look(evidence, seen(jobs, 0), seen(jobs * 19, 0), Analysis(), NOW)
    assert 85 <= jobs <= 100


def seen(jobs, bad):
    return Seen(attempts=jobs, failures=bad, rejected=0, timed=jobs, slow=0)


@pytest.mark.parametrize(
    ("canary_bad", "wrong"), [(0.05, "rejected"), (0.10, "promoted")], ids=["as good as stable", "beyond tolerance"]
)
def test_wrong_verdicts_are_as_rare_as_promised(canary_bad, wrong):
    """300 rollouts at a rate of 10 %: no more than 45 wrong (binomial, 0.2 %) though we look after every 20 jobs."""
    analysis = Analysis(false_alarm_rate="10%", tolerate=Tolerate(error_rate="5%", rejected_rate="5%"))
    random = np.random.default_rng(20260101)
    ends = [simulated(random, canary_bad, 0.05, analysis) for _ in range(300)]
    assert ends.count(wrong) <= 45
    assert ends.count("open") <= 15


def simulated(random, canary_bad, stable_bad, analysis):
    counts = np.zeros(4, dtype=int)  # canary, bad, stable, bad
    evidence = first_look(seen(0, 0), seen(0, 0), NOW)
    for _ in range(400):
        jobs = random.binomial(20, 0.25)
        counts += [
            jobs,
            random.binomial(jobs, canary_bad),
            20 - jobs,
            random.binomial(20 - jobs, stable_bad),
        ]
        canary, stable = seen(int(counts[0]), int(counts[1])), seen(int(counts[2]), int(counts[3]))
        if is_worth_a_look(evidence, canary, stable):
            evidence = look(evidence, canary, stable, analysis, NOW)
        verdict = judgement(evidence, analysis)
        if verdict.failed:
            return "rejected"
        if verdict.proven == 1:
            return "promoted"
    return "open"
