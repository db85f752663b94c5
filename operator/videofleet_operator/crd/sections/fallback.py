"""`spec.fallback`: lower tiers while there is more work than workers."""

from typing import Annotated

from pydantic import Field

from videofleet_operator.crd.rules import Rule, duration
from videofleet_operator.crd.values import Label, SpecModel


class Fallback(SpecModel):
    """Whether load may lower the tier of jobs that allow it. Every such job says so, and why."""

    enabled: bool = Field(default=False, description="Lower tiers under load; nothing is lowered unless this is true.")
    max_tier: Label | None = Field(
        default=None, description="The lowest tier that load may bring; the last if not given."
    )
    step_every: Annotated[str, Field(max_length=7), duration("1s", "1h")] = Field(
        default="1m", description="At most one move downwards in that time; back up six times as patiently."
    )


MAX_TIER_RULE = Rule(
    "!has(self.fallback) || !has(self.fallback.maxTier) || self.tiers.exists(t, t.name == self.fallback.maxTier)",
    "fallback.maxTier must be the name of one of spec.tiers",
    lambda spec: spec.fallback.max_tier is None or spec.fallback.max_tier in {tier.name for tier in spec.tiers},
    ".fallback.maxTier",
)
