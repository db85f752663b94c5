"""The sentences that two policies make."""

from typing import Any

import pytest

from videofleet.architectures import Architecture
from videofleet.jobs import Priority
from videofleet.policy import CanaryRule, FallbackRule, FleetPolicy, Track
from videofleet.tiers import Tier
from videofleet_gateway.decisions import decisions

SMALL = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
PLAIN = FleetPolicy(
    fleet="studio/tiny",
    fleet_uid="0b5c2c0e-6f3f-4d0e-9d55-000000000001",
    architecture=Architecture.WAN22_T2V_A14B,
    tiers=[SMALL],
    tracks={"r1": Track.STABLE},
    max_depth=10,
    max_attempts=3,
    store="videos",
)
CANARY = {"tracks": {"r1": Track.STABLE, "r2": Track.CANARY}, "canary": CanaryRule(revision="r2", weight_permille=5)}
FALLBACK = {
    "fallback": FallbackRule(tier="small", share_permille=250, priorities=[Priority.BATCH], cause="a long queue")
}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"max_depth": 20, "epoch": 4}, []),
        ({}, CANARY, ["canary r2 began with 0.5 % of the jobs"]),
        (
            CANARY,
            CANARY | {"canary": CanaryRule(revision="r2", weight_permille=50)},
            ["canary r2 goes from 0.5 % to 5 %"],
        ),
        (CANARY, {}, ["canary r2 was given up"]),
        (CANARY, {"tracks": {"r2": Track.STABLE}}, ["stable is now r2, was r1", "canary r2 was promoted"]),
        ({}, FALLBACK, ["25 % of the jobs are made in tier small: a long queue"]),
        (FALLBACK, {}, ["every job gets its own tier again"]),
        ({}, {"marks": {"w2": 1, "w1": 1}}, ["w1 is to finish and go", "w2 is to finish and go"]),
        ({}, {"tiers": [SMALL.model_copy(update={"name": "other"})]}, ["tiers are now other"]),
        ({}, {"closed": "fleet_deleted"}, ["the fleet was deleted"]),
    ],
)
def test_what_is_told(before: dict[str, Any], after: dict[str, Any], words: list[str]) -> None:
    assert list(decisions(PLAIN.model_copy(update=before), PLAIN.model_copy(update=after))) == words
