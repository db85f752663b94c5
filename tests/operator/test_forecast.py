"""The season: learned by quarter hours, robust to gaps, trusted by half."""

import pytest

from videofleet_operator.plan.forecast import DAY_S, SLOT_S, Season
from videofleet_operator.plan.memory import Memory, fresh_memory, with_arrivals
from videofleet_operator.plan.scaling import ScalingRules, expected_arrivals

RULES = ScalingRules(0, 8, target_wait_s=120, scale_down_after_s=120, scale_to_zero_after_s=1800)
NINE = 9 * 3600.0


def watched(days: int, rate_at_nine: float) -> Memory:
    """Looked at every minute; work comes between nine and ten o'clock only."""
    memory, arrived_s = fresh_memory(0), 0.0
    for minute in range(days * 24 * 60):
        if 9 * 60 <= minute % (24 * 60) < 10 * 60:
            arrived_s += 60 * rate_at_nine
        memory = with_arrivals(memory, arrived_s, 60.0 * (minute + 1))
    return memory


def test_nothing_is_expected_before_a_day_was_seen() -> None:
    assert Season().expected(0, DAY_S) is None
    memory = with_arrivals(with_arrivals(fresh_memory(0), 0, 10), 50, 20)
    assert expected_arrivals(memory, RULES) == memory.rate


def test_yesterdays_rush_is_prepared_for_before_it_begins() -> None:
    memory = watched(2, rate_at_nine=4.0)
    assert memory.season.expected(NINE, NINE + 600) == pytest.approx(4.0, rel=0.1)
    eight = with_arrivals(memory, memory.arrived_s or 0, 2 * DAY_S + 8 * 3600)
    assert expected_arrivals(eight, RULES) < 0.1
    before_nine = with_arrivals(memory, memory.arrived_s or 0, 2 * DAY_S + NINE - 200)
    assert expected_arrivals(before_nine, RULES) == pytest.approx(2.0, rel=0.1), "half of what is usual"


def test_a_quieter_day_moves_it_half_way_and_a_gap_changes_nothing() -> None:
    memory = watched(1, rate_at_nine=4.0)
    quiet, now_s = memory, DAY_S
    while now_s < 2 * DAY_S:
        now_s += 60
        quiet = with_arrivals(quiet, quiet.arrived_s or 0, now_s)
    assert quiet.season.expected(NINE, NINE + 600) == pytest.approx(2.0, rel=0.1)
    blind = with_arrivals(memory, memory.arrived_s or 0, 2 * DAY_S)
    assert blind.season.expected(NINE, NINE + 600) == pytest.approx(4.0, rel=0.1)
    assert blind.season.slot == 2 * DAY_S // SLOT_S
