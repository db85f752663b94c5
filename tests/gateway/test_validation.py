"""What may be asked for: every rule of the request as a row."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.architectures import Architecture
from videofleet.policy import FleetPolicy
from videofleet.tiers import Tier
from videofleet_gateway.problems import Unprocessable
from videofleet_gateway.tier_choice import lengths, spoken_seconds
from videofleet_gateway.validation import asked_for, video_request

BEST = Tier(name="720p", width=1280, height=720, num_frames=81, num_inference_steps=40, fps=16)
SHORT = Tier(name="720p-short", width=1280, height=720, num_frames=33, num_inference_steps=40, fps=16)
PREVIEW = Tier(name="preview", width=512, height=256, num_frames=9, num_inference_steps=20, fps=16)


def policy(architecture: Architecture = Architecture.WAN22_T2V_A14B) -> FleetPolicy:
    return FleetPolicy(
        fleet="studio/wan",
        fleet_uid="0b5c2c0e-6f3f-4d0e-9d55-000000000001",
        architecture=architecture,
        tiers=[BEST, SHORT, PREVIEW],
        tracks={},
        max_depth=1,
        max_attempts=1,
        store="videos",
        output_prefix="out",
    )


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, "720p"),
        ({"tier": "preview"}, "preview"),
        ({"size": "1280x720"}, "720p"),
        ({"size": "512x256"}, "preview"),
        ({"seconds": "5"}, "720p"),
        ({"seconds": 5.1}, "720p"),
        ({"seconds": "6"}, "720p"),
        ({"seconds": "2.1"}, "720p-short"),
        ({"seconds": 2}, "720p-short"),
        ({"seconds": 3}, "720p-short"),
        ({"seconds": "1"}, "preview"),
        ({"seconds": "0.6"}, "preview"),
        ({"seconds": "0.5625"}, "preview"),
        ({"size": "1280x720", "seconds": "2"}, "720p-short"),
        ({"size": "1280x720", "tier": "720p-short"}, "720p-short"),
    ],
)
def test_size_seconds_and_name_pick_the_best_tier_that_fits(fields: dict[str, object], tier: str) -> None:
    request = video_request(asked_for({"prompt": "a car"} | fields), policy(), 1)
    assert request.tier.name == tier
    assert request.output_prefix == "out"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"prompt": None}, "prompt", "1 to 4000"),
        ({"prompt": " \n "}, "prompt", "1 to 4000"),
        ({"prompt": 3}, "prompt", "text"),
        ({"prompt": "x" * 4001}, "prompt", "4001 characters, the limit is 4000"),
        ({"prompt": "\ud800"}, "prompt", "Unicode"),
        ({"negative_prompt": "x" * 4001}, "negative_prompt", "4000"),
        ({"model": "a/b/c"}, "model", "default/tiny"),
        ({"model": ""}, "model", "default/tiny"),
        ({"tier": "../x"}, "tier", "720p"),
        ({"tier": "480p"}, "tier", "720p, 720p-short, preview"),
        ({"size": "huge"}, "size", "1280x720"),
        ({"size": "100000x1"}, "size", "1280x720"),
        ({"size": "1024x1024"}, "size", "1280x720, 512x256"),
        ({"size": "512x256", "tier": "720p"}, "size", "choose 1280x720"),
        ({"seconds": "12"}, "seconds", "5.1, 2.1, 0.6"),
        ({"seconds": "-1"}, "seconds", "positive"),
        ({"seconds": "1e3"}, "seconds", "positive"),
        ({"seconds": True}, "seconds", "positive"),
        ({"seed": -1}, "seed", "9223372036854775807"),
        ({"seed": 2**63}, "seed", "9223372036854775807"),
        ({"seed": 1.5}, "seed", "whole"),
        ({"seed": "1_0"}, "seed", "whole"),
        ({"seed": False}, "seed", "whole"),
        ({"guidance_scale": "nan"}, "guidance_scale", "1 to 20"),
        ({"guidance_scale": 1e400}, "guidance_scale", "1 to 20"),
        ({"guidance_scale": 0.9}, "guidance_scale", "1 to 20"),
        ({"guidance_scale": 20.1}, "guidance_scale", "1 to 20"),
        ({"guidance_scale_2": [4]}, "guidance_scale_2", "1 to 20"),
        ({"priority": "urgent"}, "priority", "interactive, standard, batch"),
        ({"priority": ["batch"]}, "priority", "interactive, standard, batch"),
        ({"deadline": "tomorrow"}, "deadline", "time zone"),
        ({"deadline": "2030-01-31T18:00:00"}, "deadline", "time zone"),
        ({"deadline": -5}, "deadline", "time zone"),
        ({"deadline": True}, "deadline", "time zone"),
        ({"webhook": {"uri": "https://a.example"}}, "webhook", "url"),
        ({"num_frames": 10**6}, "num_frames", "unknown field"),
    ],
)
def test_a_broken_rule_names_field_limit_and_remedy(fields: dict[str, object], param: str, says: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        video_request(asked_for({"prompt": "a car"} | fields), policy(), 1)
    assert caught.value.param == param
    assert says in caught.value.detail


def test_one_reply_names_every_fault() -> None:
    with pytest.raises(Unprocessable) as caught:
        asked_for({"prompt": "", "seed": "x", "colour": "red"})
    assert [fault.field for fault in caught.value.faults] == ["colour", "prompt", "seed"]


def test_a_flood_of_unknown_fields_gets_a_short_answer() -> None:
    with pytest.raises(Unprocessable) as caught:
        asked_for({f"{number}" * 100: 1 for number in range(10, 1000)})
    assert len(caught.value.detail) < 5000


def test_values_arrive_typed_and_untouched() -> None:
    fields = {"prompt": "  夜の車 ", "seed": "7", "guidance_scale": "3.5", "guidance_scale_2": 4, "negative_prompt": ""}
    request = video_request(asked_for(fields), policy(), 99)
    assert request.prompt == "  夜の車 "
    assert (request.seed, request.guidance_scale, request.guidance_scale_2) == (7, 3.5, 4.0)
    assert video_request(asked_for({"prompt": "x", "seed": None}), policy(), 99).seed == 99


def test_a_model_with_one_expert_takes_one_guidance() -> None:
    with pytest.raises(Unprocessable, match="one expert"):
        video_request(asked_for({"prompt": "x", "guidance_scale_2": 3}), policy(Architecture.WAN22_TI2V_5B), 1)


def test_form_and_json_spellings_have_the_same_digest() -> None:
    typed = asked_for({"prompt": "x", "seed": 7, "seconds": 5, "guidance_scale": 3})
    as_text = asked_for({"prompt": "x", "seed": "7", "seconds": "5", "guidance_scale": "3.0"})
    assert typed.digest == as_text.digest
    assert typed.digest != asked_for({"prompt": "x", "seed": 8, "seconds": 5, "guidance_scale": 3}).digest


@given(frames=st.integers(0, 60).map(lambda k: 4 * k + 1), fps=st.integers(1, 60))
def test_what_a_reply_spells_is_accepted_again(frames: int, fps: int) -> None:
    tier = Tier(name="t", width=16, height=16, num_frames=frames, num_inference_steps=1, fps=fps)
    spoken = Decimal(spoken_seconds(tier))
    assert spoken in lengths(tier) or spoken == 0  # shorter than a twentieth of a second


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())
    )
)
def test_no_input_is_a_bug(fields: dict[str, Any]) -> None:
    with suppress(Unprocessable):
        video_request(asked_for(fields), policy(), 1)


@given(
    st.sampled_from(["model", "tier", "size", "seconds", "seed", "guidance_scale"]),
    st.integers() | st.floats() | st.text() | st.from_regex(r"\A[0-9.e+x-]{0,30}\Z"),
)
def test_no_value_of_a_known_field_is_a_bug(name: str, value: object) -> None:
    with suppress(Unprocessable):
        video_request(asked_for({"prompt": "x", name: value}), policy(), 1)
