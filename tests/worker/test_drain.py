"""Does the work in hand fit into the grace period?"""

import pytest

from videofleet.beacons import TierTiming
from videofleet.jobs import Progress
from videofleet.tiers import Tier
from videofleet_worker.claims import waiting_s
from videofleet_worker.drain import Drain, remaining_s

TIMING = TierTiming(tier="720p", runs=2, seconds_per_step=6.0, decode_s=20.0, encode_s=3.0)


@pytest.mark.parametrize(
    ("step", "seconds"), [(0, 263.0), (30, 83.0), (40, 23.0)], ids=["at the start", "near the end", "only delivering"]
)
def test_what_remains_of_a_job(step: int, seconds: float) -> None:
    assert remaining_s(Progress(stage="denoising", step=step, steps=40), TIMING) == seconds


@pytest.mark.parametrize(
    ("grace_s", "step", "fits"),
    [(1800.0, 0, True), (130.0, 30, False), (140.0, 30, True), (30.0, 40, False)],
    ids=["half an hour", "120 s for 124.5 s", "130 s for 124.5 s", "no time even to deliver"],
)
def test_a_job_that_does_not_fit_is_not_finished(grace_s: float, step: int, fits: bool) -> None:
    drain = Drain(grace_s)
    drain.begin()
    assert drain.has_time_for(Progress(stage="denoising", step=step, steps=40), TIMING) is fits


def test_without_sigterm_there_is_all_the_time_of_the_world() -> None:
    drain = Drain(30.0)
    assert drain.left_s == float("inf")
    assert drain.has_time_for(Progress(stage="denoising", step=0, steps=40), TIMING)


def test_a_tier_that_was_never_timed_is_tried() -> None:
    drain = Drain(30.0)
    drain.begin()
    assert drain.has_time_for(Progress(stage="denoising", step=0, steps=40), None)


@pytest.mark.parametrize(("steps", "wait_s"), [(5, 0.029), (10, 0.03), (2000, 0.05)])
def test_a_job_waits_for_others_a_small_part_of_what_it_takes(steps: int, wait_s: float) -> None:
    timing = TierTiming(tier="t", runs=2, seconds_per_step=0.004, decode_s=0.5, encode_s=0.06)
    tier = Tier(name="t", width=64, height=64, num_frames=9, num_inference_steps=steps, fps=16)
    assert waiting_s(tier, timing) == pytest.approx(wait_s)
    assert waiting_s(tier, None) == 0
