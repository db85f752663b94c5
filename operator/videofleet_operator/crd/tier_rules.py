"""What a tier must satisfy so that its architecture can render it on its ranks, by `videofleet.architectures`."""

from collections.abc import Callable
from typing import Any

from videofleet.architectures import CONSTANTS, Architecture, Constants
from videofleet.tiers import tokens
from videofleet_operator.crd.rules import Rule


def _guarded(architecture: Architecture, cel: str, tier_holds: Callable[[Any, Constants], bool], message: str) -> Rule:
    constants = CONSTANTS[architecture]
    return Rule(
        f"self.model.architecture != '{architecture}' || self.tiers.all(t, {cel})",
        f"{architecture}: {message}",
        lambda spec: spec.model.architecture != architecture or all(tier_holds(tier, constants) for tier in spec.tiers),
        ".tiers",
    )


def _size_rule(architecture: Architecture) -> Rule:
    n = CONSTANTS[architecture].size_multiple_px
    near = 720 // n * n
    return _guarded(
        architecture,
        f"t.width % {n} == 0 && t.height % {n} == 0",
        lambda tier, c: tier.width % c.size_multiple_px == 0 and tier.height % c.size_multiple_px == 0,
        f"width and height of every tier must be multiples of {n} px, e.g. 1280 × {near}",
    )


def _frames_rule(architecture: Architecture) -> Rule:
    n = CONSTANTS[architecture].frames_multiple
    return _guarded(
        architecture,
        f"(t.numFrames - 1) % {n} == 0",
        lambda tier, c: (tier.num_frames - 1) % c.frames_multiple == 0,
        f"numFrames of every tier must be a multiple of {n} plus 1, e.g. {8 * n + 1} or {20 * n + 1}",
    )


def _heads_rule(architecture: Architecture) -> Rule:
    heads = CONSTANTS[architecture].num_attention_heads
    degrees = ", ".join(str(n) for n in range(1, 9) if heads % n == 0)
    return Rule(
        f"self.model.architecture != '{architecture}' || {heads} % self.worker.parallelism.ulysses == 0",
        f"{architecture}: parallelism.ulysses must divide its {heads} attention heads: {degrees}",
        lambda spec: spec.model.architecture != architecture or heads % spec.worker.parallelism.ulysses == 0,
        ".worker.parallelism",
    )


def _tokens_rule(architecture: Architecture) -> Rule:
    c = CONSTANTS[architecture]
    n = c.size_multiple_px
    count = f"((t.numFrames - 1) / {c.frames_multiple} + 1) * (t.height / {n}) * (t.width / {n})"

    def holds(spec: Any) -> bool:
        ulysses = spec.worker.parallelism.ulysses
        return spec.model.architecture != architecture or all(
            tokens(tier, architecture) % ulysses == 0 for tier in spec.tiers
        )

    return Rule(
        f"self.model.architecture != '{architecture}'"
        f" || self.tiers.all(t, {count} % self.worker.parallelism.ulysses == 0)",
        f"{architecture}: the tokens of every tier, ((numFrames - 1) / {c.frames_multiple} + 1) × height / {n} ×"
        f" width / {n}, must divide by worker.parallelism.ulysses; change the tier's size or frames, or ulysses",
        holds,
        ".tiers",
    )


def _falling(spec: Any) -> bool:
    costs = [tier.cost for tier in spec.tiers]
    return costs == sorted(costs, reverse=True)


FALLING_COST = Rule(
    "self.tiers.map(t, 0 - t.width * t.height * t.numFrames * t.numInferenceSteps).isSorted()",
    "tiers must be listed best first: width × height × numFrames × numInferenceSteps must not rise from"
    " one to the next",
    _falling,
    ".tiers",
)
UNIQUE_NAMES = Rule(
    "self.tiers.all(t, self.tiers.exists_one(u, u.name == t.name))",
    "two tiers have the same name; each needs its own",
    lambda spec: len({tier.name for tier in spec.tiers}) == len(spec.tiers),
    ".tiers",
)

TIER_RULES: tuple[Rule, ...] = (
    *(_size_rule(architecture) for architecture in Architecture),
    *(_frames_rule(architecture) for architecture in Architecture),
    *(_heads_rule(architecture) for architecture in Architecture),
    *(_tokens_rule(architecture) for architecture in Architecture),
    FALLING_COST,
    UNIQUE_NAMES,
)
