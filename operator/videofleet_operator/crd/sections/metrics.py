"""`spec.rollout.analysis.metrics[]`: queries to the installation's Prometheus that a canary has to pass too.

Who answers is the installation's to say: a URL in a manifest would let its author reach whatever the operator reaches.
"""

from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator

from videofleet_operator.crd.rules import VALIDATIONS, Rule, matches
from videofleet_operator.crd.values import Label, SpecModel

METRICS_LIMIT: Final = 5
Number = Annotated[
    str,
    Field(max_length=20),
    matches("^-?[0-9]{1,12}(\\.[0-9]{1,6})?$", "must be a decimal number in quotes, such as '0.05' or '120'"),
]
LIMITS_RULE: Final = Rule(
    "has(self.max) || has(self.min)",
    "a metric needs max or min: what else would it decide?",
    lambda metric: metric.max is not None or metric.min is not None,
)


class MetricQuery(SpecModel):
    """A figure that must lie between two limits."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(LIMITS_RULE.as_validation())]})

    name: Annotated[Label, Field(max_length=32)] = Field(description="For people.")
    query: str = Field(
        min_length=1,
        max_length=1024,
        description="PromQL with one number as its answer. `$canary` and `$stable` stand for the revisions, `$fleet`"
        " for namespace/name.",
    )
    max: Number | None = Field(default=None, description="More than this, three looks in a row, rejects.")
    min: Number | None = Field(default=None, description="Less than this, three looks in a row, rejects.")

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        LIMITS_RULE.check(self)
        return self
