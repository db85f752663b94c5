"""Scaling: the number, the patience, the limits, and the sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet_operator.plan.memory import COLD_START_S, Memory, fresh_memory, with_arrivals, with_starts
from videofleet_operator.plan.scaling import (
    Decision,
    Demand,
    ScaleReason,
    ScalingRules,
    decide_scaling,
    needed_workers,
)

RULES = ScalingRules(0, 8, target_wait_s=120, scale_down_after_s=120, scale_to_zero_after_s=1800)
IDLE = Demand(0, 0, 0, 0, 0)


def busy(waiting: int, waiting_s: float, running: int = 0, running_s: float = 0, arrived_s: float = 0) -> Demand:
    return Demand(waiting, running, waiting_s, running_s, arrived_s)


class Watched:
    """A fleet that is looked at every 10 s and obeys at once."""

    def __init__(self, rules: ScalingRules = RULES, wanted: int = 0) -> None:
        self.rules, self.wanted, self.now_s = rules, wanted, 1_000_000.0
        self.memory: Memory = fresh_memory(self.now_s)
        self.shortage: str | None = None

    def look(self, demand: Demand, for_s: float = 0) -> Decision:
        until_s = self.now_s + for_s
        while True:
            decision, self.memory = decide_scaling(
                self.rules, self.memory, demand, self.wanted, self.shortage, self.now_s
            )
            self.wanted = decision.desired
            if self.now_s >= until_s:
                return decision
            self.now_s += 10


@pytest.mark.parametrize(
    ("arriving", "demand", "need"),
    [
        (1.4, busy(5, 3000, 2, 100), 5.83),  # the example in the module's docstring
        (1.4, IDLE, 2.8),  # what arrives asks for spare room
        (0.0, busy(40, 1200), 10.0),  # many short jobs share workers
        (0.0, busy(3, 3600), 3.0),  # a long job is not split
        (0.0, busy(0, 0, 2, 1000), 2.0),
        (0.0, IDLE, 0.0),
    ],
)
def test_the_need_follows_work_and_arrivals(arriving: float, demand: Demand, need: float) -> None:
    assert needed_workers(RULES, demand, arriving) == pytest.approx(need, abs=0.01)


def test_a_job_wakes_a_fleet_at_zero() -> None:
    decision = Watched().look(busy(1, 30))
    assert (decision.desired, decision.reason) == (1, ScaleReason.FROM_ZERO)
    assert decision.sentence.startswith("from 0 to 1 worker: 1 jobs wait with 30 s of work")


def test_growth_is_immediate_but_by_steps_and_never_beyond_the_maximum() -> None:
    fleet = Watched(wanted=1)
    assert [fleet.look(busy(50, 5000)).desired for _ in range(3)] == [5, 8, 8]
    assert fleet.look(busy(50, 5000)).reason is ScaleReason.AT_MAXIMUM


def test_starting_workers_count_so_that_nothing_cascades() -> None:
    fleet = Watched(wanted=1)
    assert {fleet.look(busy(3, 360), for_s=180).desired} == {3}


def test_workers_go_when_they_were_not_needed_for_long_enough_and_the_last_one_later() -> None:
    fleet = Watched()
    fleet.look(busy(4, 480), for_s=300)
    assert fleet.wanted == 4
    held = fleet.look(IDLE, for_s=100)
    assert (held.desired, held.reason) == (4, ScaleReason.STABILISING)
    assert fleet.look(IDLE, for_s=40).desired == 1
    assert fleet.look(IDLE, for_s=1500).desired == 1
    decision = fleet.look(IDLE, for_s=400)
    assert decision.desired == 0
    fleet.wanted = 1
    assert fleet.look(IDLE).reason is ScaleReason.SCALED_TO_ZERO


def test_a_restarted_operator_never_shrinks_a_fleet_blind() -> None:
    fleet = Watched(wanted=6)
    decision = fleet.look(IDLE, for_s=100)
    assert (decision.desired, decision.reason) == (6, ScaleReason.LEARNING)
    assert fleet.look(IDLE, for_s=30).desired == 1


def test_a_short_resource_is_named_and_not_asked_for_again() -> None:
    fleet = Watched(wanted=2)
    fleet.shortage = "no node has nvidia.com/gpu to spare"
    decision = fleet.look(busy(50, 5000))
    assert (decision.desired, decision.reason) == (2, ScaleReason.RESOURCE_SHORT)
    assert "nvidia.com/gpu" in decision.sentence
    fleet.shortage = None
    assert fleet.look(busy(50, 5000)).desired == 6


def test_a_counter_that_fell_and_a_gap_do_no_harm() -> None:
    memory = with_arrivals(fresh_memory(0), 1000, 10)
    memory = with_arrivals(memory, 1060, 70)
    assert 0 < memory.rate <= 1
    assert with_arrivals(memory, 5, 80).rate == memory.rate
    assert with_arrivals(memory, 1060 + 3600, 70 + 3600).rate == pytest.approx(1.0, abs=0.01)


def test_cold_starts_are_measured_only_on_workers_seen_cold() -> None:
    memory = with_starts(fresh_memory(0), ["a"], [("old", 9000.0)])
    assert memory.cold_start_s == COLD_START_S
    memory = with_starts(memory, [], [("a", 42.0), ("old", 9010.0)])
    assert memory.cold_start_s == 42.0
    memory = with_starts(memory, ["a"], [])  # marked for a while, then warm again: no start
    assert with_starts(memory, [], [("a", 500.0)]).cold_starts_s == (42.0,)


LOADS = st.lists(
    st.tuples(st.integers(0, 60), st.floats(0, 900), st.integers(0, 8), st.floats(1, 600)), min_size=1, max_size=60
)


@given(LOADS, st.integers(0, 4), st.integers(0, 6))
def test_bounds_hold_and_nothing_shrinks_that_was_needed_lately(loads, low, extra) -> None:
    rules = ScalingRules(low, max(1, low + extra), 120, 120, 1800)
    memory, now_s, arrived_s, wanted = fresh_memory(0.0), 0.0, 0.0, low
    needs: list[tuple[float, int]] = []
    for waiting, each_s, running, step_s in loads:
        now_s += step_s
        arrived_s += waiting * each_s / 4
        demand = Demand(waiting, running, waiting * each_s, running * each_s / 2, arrived_s)
        decision, memory = decide_scaling(rules, memory, demand, wanted, None, now_s)
        assert rules.min_replicas <= decision.desired <= rules.max_replicas
        assert decision.desired >= min(1, demand.jobs)
        if decision.desired < wanted:
            lately = [need for at_s, need in needs if at_s > now_s - rules.scale_down_after_s]
            assert decision.desired >= max(lately, default=0)
            assert now_s >= rules.scale_down_after_s
        needs.append((now_s, min(max(1, round(decision.need)) if demand.jobs else 0, decision.desired)))
        wanted = decision.desired
