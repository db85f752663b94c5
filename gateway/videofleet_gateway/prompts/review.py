"""A prompt's whole review, and what a tenant's policy makes of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from videofleet_gateway.problems import Problem
from videofleet_gateway.prompts.advice import Advice, Weight
from videofleet_gateway.prompts.blocked import blocked_terms
from videofleet_gateway.prompts.checks import length, sense
from videofleet_gateway.prompts.distribution import unusual
from videofleet_gateway.prompts.text import read


class PromptPolicy(StrEnum):
    """What a FAULT leads to. A BLOCK is always refused, a HINT never."""

    ADVISE = "advise"  # said in the reply
    SAFE = "safe"  # made in the fleet's lowest tier, so that a poor prompt costs little
    REFUSE = "refuse"


class PromptRefused(Problem):
    """422: the prompt breaks the tenant's policy; nothing was queued."""

    status, kind, default_code = 422, "invalid_request_error", "prompt_refused"


@dataclass(frozen=True)
class Review:
    """What is said of a prompt that may be queued."""

    advice: tuple[Advice, ...]
    lowest_tier: bool


def review(prompt: str, policy: PromptPolicy, blocked: Sequence[str]) -> Review:
    """The advice. Raises: PromptRefused."""
    text = read(prompt)
    advice = (*blocked_terms(prompt, blocked), *length(text), *sense(text), *unusual(text))
    refused = {Weight.BLOCK, Weight.FAULT} if policy is PromptPolicy.REFUSE else {Weight.BLOCK}
    grave = [each for each in advice if each.weight in refused]
    if grave:
        said = "; ".join(f"prompt: {each.message}" for each in grave)
        raise PromptRefused(said, param="prompt", members={"advice": shown(grave)})
    lowest_tier = policy is PromptPolicy.SAFE and any(each.weight is Weight.FAULT for each in advice)
    return Review(advice, lowest_tier)


def shown(advice: Sequence[Advice]) -> list[dict[str, str]]:
    """On the wire."""
    return [{"code": each.code, "message": each.message} for each in advice]
