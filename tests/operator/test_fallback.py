"""Fallback: the mildest rung that helps, whose jobs, how often, and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.jobs import Priority
from videofleet_operator.plan.fallback import (
    FULL,
    FallbackRules,
    FallbackState,
    Load,
    Rung,
    ladder,
    plan_fallback,
    predicted_wait_s,
)

RULES = FallbackRules(costs=(1.0, 0.5, 0.1), target_wait_s=120, step_every_s=60)


def load(batch: float = 0, standard: float = 0, interactive: float = 0, *, ready: int = 4, arriving: float = 0) -> Load:
    waiting = {Priority.BATCH: batch, Priority.STANDARD: standard, Priority.INTERACTIVE: interactive}
    return Load(waiting, arriving, ready, 0, cold_start_s=180)


def after(state: FallbackState, pressing: Load, now_s: float) -> FallbackState:
    return plan_fallback(RULES, state, pressing, now_s)


@pytest.mark.parametrize(
    ("pressing", "rung"),
    [
        (load(interactive=400), FULL),  # 100 s for four workers: under target
        (load(batch=480, interactive=40), Rung(1, 1, 1000)),  # batch alone suffices
        (load(batch=100, interactive=400), Rung(1, 3, 900)),  # batch is too little: everybody
        (load(interactive=3000), Rung(2, 3, 1000)),  # nothing suffices: as much as there is
    ],
)
def test_the_mildest_rung_that_brings_the_wait_under_target(pressing: Load, rung: Rung) -> None:
    assert after(FallbackState(), pressing, 1000).rung == rung


def test_the_ladder_goes_batch_first_and_interactive_last_tier_by_tier() -> None:
    rungs = list(ladder(3))
    assert rungs[0] == Rung(1, 1, 100)
    assert rungs[0].priorities == (Priority.BATCH,)
    assert rungs[29].priorities[-1] is Priority.INTERACTIVE
    assert (rungs[29].tier, rungs[30]) == (1, Rung(2, 1, 100))


def test_arrivals_that_outrun_the_workers_lower_the_tier_before_a_line_has_grown() -> None:
    assert after(FallbackState(), load(interactive=40, arriving=8), 0).rung != FULL


def test_at_most_one_move_downwards_a_step_and_back_six_times_as_patiently() -> None:
    state = after(FallbackState(), load(batch=480, interactive=40), 1000)
    assert after(state, load(interactive=3000), 1059) == state
    worse = after(state, load(interactive=3000), 1060)
    assert worse.rung == Rung(2, 3, 1000)
    assert worse.since_s == 1000, "full quality ended with the first move"
    assert after(worse, load(), 1419) == worse
    assert after(worse, load(), 1420).rung == FULL


def test_it_does_not_flap_around_the_target() -> None:
    state = after(FallbackState(), load(interactive=490), 0)
    assert state.rung != FULL
    assert after(state, load(interactive=300), 10_000) == state, "75 s are under target, but with little to spare"
    assert after(state, load(interactive=190), 10_000).rung == FULL


def test_it_stays_while_more_arrives_than_the_workers_could_do_in_full() -> None:
    state = after(FallbackState(), load(interactive=3000), 0)
    assert after(state, load(arriving=4.5), 10_000).rung != FULL, "the line is gone only because tiers are lower"
    assert after(state, load(arriving=3.5), 10_000).rung == FULL


def test_before_the_first_worker_is_warm_those_that_start_count() -> None:
    pressing = Load({Priority.INTERACTIVE: 900}, 0.0, ready=0, starting=2, cold_start_s=180)
    state = after(FallbackState(), pressing, 0)
    assert state.rung != FULL
    assert state.until_s == pytest.approx(180 + 92, abs=60)


def test_one_tier_is_never_left() -> None:
    rules = FallbackRules((1.0,), 120, 60)
    assert plan_fallback(rules, FallbackState(), load(interactive=9000), 0).rung == FULL


SECONDS = st.floats(0, 20_000)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS, st.integers(0, 8), st.floats(1, 200)), max_size=40))
def test_moves_keep_their_distance_and_a_rung_is_never_worse_than_needed(loads) -> None:
    state, now_s, moves = FallbackState(), 0.0, []
    rungs = [FULL, *ladder(3)]
    for batch, standard, interactive, ready, passed_s in loads:
        now_s += passed_s
        pressing = load(batch, standard, interactive, ready=ready)
        new = after(state, pressing, now_s)
        if new != state:
            moves.append(now_s)
            milder = [rung for rung in rungs if rungs.index(state.rung) <= rungs.index(rung) < rungs.index(new.rung)]
            assert all(predicted_wait_s(RULES, pressing, rung) > 0.7 * RULES.target_wait_s for rung in milder)
        assert (new.since_s is None) == (new.rung == FULL)
        state = new
    assert all(later - earlier >= RULES.step_every_s for earlier, later in itertools.pairwise(moves))
