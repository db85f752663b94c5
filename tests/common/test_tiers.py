"""Which tiers an architecture can render."""

import pytest

from videofleet.architectures import Architecture
from videofleet.tiers import Tier, tier_faults, tokens

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


@pytest.mark.parametrize(
    ("changes", "architecture", "count", "divides_by_8"),
    [
        ({}, A14B, 32_760, True),
        ({"width": 1280, "height": 720}, A14B, 75_600, True),
        ({"width": 320, "height": 240}, A14B, 6_300, False),
        ({"width": 1280, "height": 704, "num_frames": 121}, TI2V, 27_280, True),
        ({"num_frames": 121}, TI2V, 12_090, False),
    ],
)
def test_tokens_must_divide_by_the_ranks(
    changes: dict[str, int], architecture: Architecture, count: int, divides_by_8: bool
) -> None:
    assert tokens(tier(**changes), architecture) == count
    faults = tier_faults(tier(**changes), architecture, 8)
    assert (faults == []) is divides_by_8
    assert divides_by_8 or f"{count} tokens must divide by worker.parallelism.ulysses 8" in faults[0]


def test_what_a_tier_is_worth() -> None:
    assert (tier().size, tier().seconds) == ("832x480", 81 / 16)
    assert tier().cost > tier(num_frames=33).cost
