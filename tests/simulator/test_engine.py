"""The fleet on paper: every job is done, nothing is claimed twice, pods hold GPUs until they are gone."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videofleet_cli.simulator.baselines import Fixed, Keda, Kpa, StaticFallback
from videofleet_cli.simulator.engine import Fleet
from videofleet_cli.simulator.orders import Orders, View
from videofleet_cli.simulator.ours import VideoFleet
from videofleet_cli.simulator.workload import Job
from videofleet_cli.simulator.world import World
from videofleet_operator.plan.fallback import FallbackRules
from videofleet_operator.plan.scaling import ScalingRules

RULES = ScalingRules(0, 4, target_wait_s=120, scale_down_after_s=60, scale_to_zero_after_s=300)


def jobs(*at_s: float, work_s: float = 30.0, priority: int = 0) -> list[Job]:
    return [Job(at, work_s, "t", priority, False) for at in at_s]


class Script:
    """Orders by the clock."""

    every_s = 10.0
    name = "script"

    def __init__(self, *orders: tuple[float, int]) -> None:
        self._orders = orders

    def look(self, view: View, now_s: float) -> Orders:
        return Orders(next(count for until_s, count in self._orders if now_s < until_s))


def test_a_job_waits_for_the_cold_start_and_the_next_one_does_not() -> None:
    account = Fleet(jobs(0, 400), World(1, cold_start_s=100, cold_start_spread=0), Fixed(1)).run()
    assert [ran.wait_s for ran in account.ran] == [100, 0]
    assert account.pod_s == pytest.approx(430)


def test_interactive_goes_before_batch() -> None:
    waiting = [Job(0, 10, "t", 2, False), Job(1, 10, "t", 0, False)]
    account = Fleet(waiting, World(1, cold_start_s=60, cold_start_spread=0), Fixed(1)).run()
    assert [ran.priority for ran in account.ran] == [0, 2]


def test_a_pod_that_is_taken_away_finishes_within_its_grace_and_loses_its_job_beyond() -> None:
    for grace_s, killed in ((1000.0, 0), (5.0, 1)):
        world = World(2, cold_start_s=10, cold_start_spread=0, grace_s=grace_s)
        scaler = Script((60, 2), (90, 1), (1e9, 1))
        account = Fleet(jobs(0, 0, work_s=200), world, scaler).run()
        assert account.killed == killed
        assert len({id(ran.job) for ran in account.ran}) == 2


def test_a_terminating_pod_holds_its_gpu() -> None:
    world = World(max_pods=1, cold_start_s=10, cold_start_spread=0, grace_s=1000)
    account = Fleet(jobs(0, 25, work_s=100), world, Script((20, 1), (30, 0), (1e9, 1))).run()
    assert account.most_pods == 1
    assert account.ran[1].wait_s == pytest.approx(110 + 10 - 25)


def test_a_failing_worker_costs_time_and_no_job() -> None:
    world = World(2, cold_start_s=10, mtbf_s=120, seed=3)
    many = jobs(*range(0, 4000, 40), work_s=60)
    account = Fleet(many, world, Fixed(2)).run()
    assert account.crashed > 5
    assert len(account.ran) == len(many)


def test_keda_follows_its_formula() -> None:
    def view(waiting: int, running: int, wanted: int) -> View:
        return View((waiting, 0, 0), (0.0, 0.0, 0.0), 0, running, 0, 0, wanted, (), False)

    keda = Keda(2.0, 0, 20)
    assert keda.look(view(0, 0, 0), 0).wanted == 0
    assert keda.look(view(5, 0, 0), 30).wanted == 1, "KEDA takes it to one, the HPA from there"
    assert keda.look(view(9, 1, 1), 60).wanted == 5, "ceil(10 / 2)"
    assert keda.look(view(20, 1, 10), 90).wanted == 10, "21 of 20 are within the tolerance of 10 %"
    assert keda.look(view(0, 2, 10), 120).wanted == 10, "stabilised over 300 s"
    assert keda.look(view(0, 2, 10), 430).wanted == 1


@pytest.mark.parametrize("with_fallback", [False, True])
def test_a_burst_is_served_from_zero_and_the_fleet_is_gone_after_it(with_fallback: bool) -> None:
    fallback = FallbackRules((1.0, 0.4), 120, 60) if with_fallback else None
    burst = jobs(*itertools.repeat(0.0, 40), 4000.0)
    account = Fleet(burst, World(4), VideoFleet(RULES, fallback)).run()
    assert len(account.ran) == 41
    assert account.killed == 0
    assert account.most_pods == 4
    assert account.ran[-1].wait_s > 100, "it had gone to zero in between"
    assert any(ran.quality < 1 for ran in account.ran) == with_fallback


class Watched:
    """An autoscaler, and how many warm workers it saw each time while a new revision was on its way."""

    every_s = 15.0
    name = "watched"

    def __init__(self, inner) -> None:
        self.inner, self.warm = inner, []

    def look(self, view: View, now_s: float) -> Orders:
        if view.is_trial:
            self.warm.append(sum(worker.is_ready for worker in view.workers))
        return self.inner.look(view, now_s)


FULL_HOUSE = replace(RULES, min_replicas=4, max_replicas=4)


def test_a_rollout_on_a_full_cluster_swaps_worker_by_worker_and_kills_nothing() -> None:
    steady = jobs(*range(0, 12_000, 2), work_s=6)
    watched = Watched(VideoFleet(FULL_HOUSE))
    account = Fleet(steady, World(4, 100, grace_s=5, rollouts_s=(1000.0,)), watched).run()
    assert len(account.rollouts_took_s) == 1
    assert account.rollouts_took_s[0] > 4000, "twenty jobs are 1 % of what comes in 4,000 s"
    assert min(watched.warm) >= 3, "one worker less than wanted, never two"
    assert account.most_pods == 4
    assert account.killed == 0
    assert len(account.ran) == len(steady)


def test_a_rollout_with_room_comes_beside_and_costs_nobody_a_wait() -> None:
    steady = jobs(*range(0, 12_000, 2), work_s=6)
    watched = Watched(VideoFleet(replace(FULL_HOUSE, max_replicas=8)))
    account = Fleet(steady, World(8, 100, rollouts_s=(1000.0,)), watched).run()
    assert len(account.rollouts_took_s) == 1
    assert min(watched.warm) >= 4
    assert max(ran.wait_s for ran in account.ran if ran.job.at_s > 1000) < 30


def test_a_rolling_update_replaces_everybody_and_kills_what_outlasts_the_grace() -> None:
    steady = jobs(*range(0, 20_000, 60), work_s=200)
    for grace_s, kills in ((1000.0, False), (30.0, True)):
        account = Fleet(steady, World(6, 100, grace_s=grace_s, rollouts_s=(4000.0,)), Fixed(5)).run()
        assert len(account.rollouts_took_s) == 1
        assert (account.killed > 0) == kills
        assert len(account.ran) == len(steady)


SCALERS = [
    lambda: VideoFleet(RULES),
    lambda: VideoFleet(RULES, FallbackRules((1.0, 0.4, 0.1), 120, 60)),
    lambda: Keda(2.0, 0, 4),
    lambda: Kpa(1.0, 0, 4),
    lambda: StaticFallback(Keda(1.0, 1, 4), 0.4),
]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 900), st.floats(1, 400), st.integers(0, 2)), min_size=1, max_size=40),
    st.sampled_from(SCALERS),
    st.sampled_from([None, 600.0]),
    st.sampled_from([(), (300.0, 2000.0)]),
)
def test_every_job_is_done_once_whatever_comes(gaps, make, mtbf_s, rollouts_s) -> None:
    at_s, coming = 0.0, []
    for gap_s, work_s, priority in gaps:
        at_s += gap_s
        coming.append(Job(at_s, work_s, "t", priority, priority == 1))
    account = Fleet(coming, World(4, 60, mtbf_s=mtbf_s, rollouts_s=rollouts_s), make()).run()
    assert sorted(map(id, coming)) == sorted(id(ran.job) for ran in account.ran)
    assert account.killed == 0
    assert account.most_pods <= 4
    assert all(ran.quality == 1 for ran in account.ran if ran.job.is_protected)
    assert account.pod_s >= account.busy_s - 1e-6
