"""Prompt checks: ordinary prompts pass, equal sense gets equal verdicts in three languages, look-alikes are found."""

import json
from pathlib import Path
from typing import Any

import pytest

from videofleet_gateway.prompts.advice import Weight
from videofleet_gateway.prompts.blocked import blocked_terms
from videofleet_gateway.prompts.review import PromptPolicy, PromptRefused, review

ORDINARY = json.loads((Path(__file__).parent / "prompts_ordinary.json").read_text())
LONG = ["a fox walks over the hill and " * 60, "一只狐狸走过山坡，然后" * 80, "狐が丘を越えて歩き、" * 80]

SENSES = json.loads((Path(__file__).parent / "prompts_senses.json").read_text())


def codes(prompt: str) -> list[str]:
    return [each.code for each in review(prompt, PromptPolicy.ADVISE, []).advice]


@pytest.mark.parametrize("prompt", [prompt for row in ORDINARY for prompt in row])
def test_ordinary_prompts_get_no_advice_at_all(prompt: str) -> None:
    assert codes(prompt) == []
    assert not review(prompt, PromptPolicy.REFUSE, ["forbidden"]).lowest_tier


@pytest.mark.parametrize("prompt", LONG)
def test_what_the_model_does_not_read_is_said(prompt: str) -> None:
    assert "too_long" in codes(prompt)
    assert "too_long" not in codes(prompt[: len(prompt) // 2])


def test_there_are_sixty_ordinary_prompts() -> None:
    assert sum(map(len, ORDINARY)) == 60


@pytest.mark.parametrize(
    ("prompt", "expected"), [(prompt, expected) for prompts, expected in SENSES for prompt in prompts]
)
def test_the_same_sense_gets_the_same_verdict(prompt: str, expected: list[str]) -> None:
    found = codes(prompt)
    unavoidable = {"unusual", "no_action"} - set(expected)  # a list of words is odd in itself
    assert [code for code in found if code not in unavoidable] == [code for code in expected if code not in unavoidable]


@pytest.mark.parametrize(
    "prompt",
    [
        "Day turns to night over the city.",
        "白天渐渐变成夜晚的城市，大白天之后是夜空。",
        "正午から夜の街へと変わる風景。",
        "Ein roter Hund läuft durch den Wald und bellt laut.",
        "Рыжая лиса бежит через заснеженный лес на рассвете",
        "빨간 여우가 눈 덮인 숲을 달린다",
        "New York city street, 1950s",
    ],
)
def test_a_change_is_no_contradiction_and_other_languages_no_fault(prompt: str) -> None:
    assert not [each for each in review(prompt, PromptPolicy.REFUSE, []).advice if each.weight is not Weight.HINT]


@pytest.mark.parametrize(
    ("prompt", "blocked"),
    [
        ("a gore scene", True),
        ("A GORE!", True),
        ("ｇｏｒｅ everywhere", True),
        ("𝓰𝓸𝓻𝓮 everywhere", True),
        ("gоrе everywhere", True),  # Cyrillic о and е
        ("g0r3 everywhere", True),
        ("g.o.r.e everywhere", True),
        ("g o r e everywhere", True),
        ("go\u200bre everywhere", True),
        ("gòré everywhere", True),
        ("a gorgeous forest, gored", False),
        ("go red, go", False),
        ("two killer whales", False),
        ("he wants to k!ll and kiIl", True),
        ("一幅血腥的画面", True),
        ("血 腥", True),
        ("流血事件", False),
        ("グロい場面", True),
        ("ｸﾞﾛい場面", True),
        ("クロい猫", False),
    ],
)
def test_blocked_terms_are_found_in_every_dress(prompt: str, blocked: bool) -> None:
    assert bool(blocked_terms(prompt, ["gore", "kill", "血腥", "グロい"])) is blocked


def test_what_the_policies_make_of_a_fault() -> None:
    poor = "beautiful masterpiece, best quality, 4k"
    assert not review(poor, PromptPolicy.ADVISE, []).lowest_tier
    assert review(poor, PromptPolicy.SAFE, []).lowest_tier
    with pytest.raises(PromptRefused, match="names nothing that can be drawn"):
        review(poor, PromptPolicy.REFUSE, [])
    assert not review("a cat", PromptPolicy.SAFE, []).lowest_tier, "hints never change anything"


async def test_policies_over_http_and_hot(own_gateway: Any) -> None:
    own_gateway.start()
    poor = {"prompt": "beautiful masterpiece, best quality, 4k", "tier": "small"}
    async with own_gateway.session("loner0") as http:

        async def post(**fields: Any) -> tuple[int, dict[str, Any]]:
            async with http.post("/v1/videos", json=poor | fields) as response:
                return response.status, await response.json()

        status, video = await post()
        assert (status, video["tier"], [each["code"] for each in video["advice"]]) == (
            202,
            "small",
            ["nothing_to_draw"],
        )
        own_gateway.rules = {"loner0": {"promptPolicy": "safe"}}
        own_gateway.write_keys()
        status, video = await post()
        assert (status, video["tier"]) == (202, "preview")
        assert [each["code"] for each in video["advice"]] == ["nothing_to_draw", "lower_tier"]
        own_gateway.rules = {"loner0": {"promptPolicy": "refuse", "blockedTerms": ["gore"]}}
        own_gateway.write_keys()
        status, problem = await post()
        assert (status, problem["error"]["code"], problem["error"]["param"]) == (422, "prompt_refused", "prompt")
        assert problem["advice"][0]["code"] == "nothing_to_draw"
        status, problem = await post(prompt="a dog runs through g0re")
        assert (status, problem["advice"][0]["code"]) == (422, "blocked_term")
        assert "g0re" not in json.dumps(problem)
