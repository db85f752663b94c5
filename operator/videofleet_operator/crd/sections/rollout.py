"""`spec.rollout`: how a new revision takes over, and what it has to prove on the way."""

from typing import Annotated, Final, Literal

from pydantic import Field

from videofleet.policy import StickyBy
from videofleet_operator.crd.quantities import GROWTH_PATTERN, POSITIVE_PERCENT_PATTERN, permille
from videofleet_operator.crd.rules import duration, matches
from videofleet_operator.crd.sections.metrics import METRICS_LIMIT, MetricQuery
from videofleet_operator.crd.values import SpecModel

_Share = Annotated[
    str,
    Field(max_length=5),
    matches(
        POSITIVE_PERCENT_PATTERN,
        "must be a share above 0% and below 100% with at most one decimal, such as 0.5% or 25%",
    ),
]
_Growth = Annotated[
    str,
    Field(max_length=6),
    matches(GROWTH_PATTERN, "must be a growth above 0% and below 1000% with at most one decimal, such as 25% or 150%"),
]
MAX_STEPS: Final = 10


class Step(SpecModel):
    """One weight that a canary has to stand."""

    weight: _Share = Field(description="Of the jobs submitted from then on, 0.1% to 99.9%.")
    hold: Literal["Manual"] | None = Field(
        default=None, description="`Manual`: behind this step a person goes on with `videofleet rollout resume`."
    )

    @property
    def weight_permille(self) -> int:
        """Thousandths of the jobs."""
        return permille(self.weight)


class Tolerate(SpecModel):
    """How much worse than stable, over the same period, a canary may be and still be promoted."""

    error_rate: _Share = Field(default="5%", description="More attempts that fail, in percentage points.")
    rejected_rate: _Share = Field(default="5%", description="More videos that the output check refuses, in points.")
    seconds_per_step: _Growth = Field(
        default="25%", description="A job counts as slow that takes this much longer a step than stable's mean."
    )
    gpu_memory: _Growth = Field(
        default="10%", description="A job counts as too big that needs this much more GPU memory than stable's mean."
    )
    recovery_time: Annotated[str, Field(max_length=7), duration("1s", "24h")] = Field(
        default="2m",
        description="A worker that broke counts as slow when it is not warm again after this, or after three times"
        " stable's mean if that is longer.",
    )


class Analysis(SpecModel):
    """When the evidence is enough."""

    min_jobs: int = Field(default=20, ge=1, le=100_000, description="Attempts of the canary before a step is passed.")
    golden_prompts: int = Field(
        default=0,
        ge=0,
        le=8,
        description="So many built-in prompts, each with its own seed, the canary renders at the first tier before it"
        " gets any other job; one that fails or is refused by the output gate rejects it, and so does that they look"
        " unlike those that stable made when it was the canary.",
    )
    max_step_duration: Annotated[str, Field(max_length=7), duration("10s", "720h")] = Field(
        default="2h",
        description="A step without enough evidence by then, and golden prompts that have not ended, pause as"
        " `InsufficientEvidence`.",
    )
    false_alarm_rate: _Share = Field(
        default="1%",
        description="Most often that a canary as good as stable is rejected, over all metrics and looks; and that one"
        " beyond `tolerate` passes a metric.",
    )
    metrics: list[MetricQuery] | None = Field(
        default=None,
        max_length=METRICS_LIMIT,
        description="Queries to the installation's Prometheus; a step is passed only while each is within its limits.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    tolerate: Tolerate = Field(
        default=Tolerate(), description="How much worse a canary may be.", json_schema_extra={"default": {}}
    )


class Standby(SpecModel):
    """When the revision that was stable before takes over again by itself."""

    after_failures: int = Field(
        default=3, ge=1, le=100, description="So many jobs in a row whose attempts failed, each counted once."
    )


class Rollout(SpecModel):
    """How a new revision takes over."""

    steps: list[Step] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_STEPS,
        description="Weights of the canary, in order; when not given a new revision replaces the old one as soon as its"
        " workers are warm.",
    )
    surge: Literal["Auto", "Always", "Never"] = Field(
        default="Auto",
        description="`Always`: the canary comes beside stable. `Never`: workers are swapped in place, one at a time."
        " `Auto`: beside, but in place where maxReplicas leaves no room or no GPU is free within `surgeTimeout`.",
    )
    surge_timeout: Annotated[str, Field(max_length=7), duration("1s", "24h")] = Field(
        default="10m", description="How long `Auto` waits for a free GPU."
    )
    allow_outage: bool = Field(
        default=False, description="Whether in place the only worker may go before the canary is warm."
    )
    standby: Standby | None = Field(
        default=None,
        description="The revision that was stable before takes over when the one that serves fails again and again;"
        " once a promotion. Never when not given.",
    )
    sticky_by: StickyBy = Field(
        default=StickyBy.NONE,
        description="`none`: of n jobs the canary has had n × weight ± 1; `tenant`: the same tenant, the same track.",
    )
    analysis: Analysis = Field(
        default=Analysis(), description="When the evidence is enough.", json_schema_extra={"default": {}}
    )
