"""Which tiers an architecture can render."""

import pytest

from videofleet.architectures import Architecture
from videofleet.tiers import Tier, tier_faults

A14B, TI2V = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B


def tier(**changes: int) -> Tier:
    shape = {"width": 832, "height": 480, "num_frames": 81, "num_inference_steps": 40, "fps": 16}
    return Tier(name="480p", **(shape | changes))


@pytest.mark.parametrize(
    ("changes", "architecture", "fault"),
    [
        ({}, A14B, None),
        ({"height": 496}, A14B, None),
        ({"height": 496}, TI2V, "height 496 must be a multiple of 32"),
        ({"width": 854}, A14B, "width 854 must be a multiple of 16"),
        ({"num_frames": 80}, A14B, "numFrames 80 must be a multiple of 4 plus 1"),
        ({"num_frames": 1}, A14B, None),
        ({"num_frames": 0}, A14B, "numFrames 0"),
        ({"num_inference_steps": 0}, A14B, "numInferenceSteps 0 must be at least 1"),
    ],
)
def test_tier_faults(changes: dict[str, int], architecture: Architecture, fault: str | None) -> None:
    faults = tier_faults(tier(**changes), architecture)
    assert [fault is not None and fault in text for text in faults] == ([] if fault is None else [True])


def test_what_a_tier_is_worth() -> None:
    assert (tier().size, tier().seconds) == ("832x480", 81 / 16)
    assert tier().cost > tier(num_frames=33).cost
