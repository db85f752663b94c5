"""`spec.scaling`: how many workers, between which bounds, and how patiently."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from videofleet_operator.crd.rules import VALIDATIONS, Rule, duration
from videofleet_operator.crd.values import SpecModel

BOUNDS_RULE = Rule(
    "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "minReplicas must not be greater than maxReplicas",
    lambda scaling: scaling.max_replicas is None or scaling.min_replicas <= scaling.max_replicas,
)


class Scaling(SpecModel):
    """How many workers. With minReplicas 0 the fleet goes to zero when nobody asks for videos."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(BOUNDS_RULE.as_validation())]})

    min_replicas: int = Field(default=0, ge=0, le=1000, description="Workers that are always there; 0: to zero.")
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Most workers, of both tracks together; minReplicas, or 1, when not given.",
    )
    target_wait: Annotated[str, Field(max_length=7), duration("1s", "24h")] = Field(
        default="2m", description="How long a job is to wait at the most, once workers are warm."
    )
    scale_down_after: Annotated[str, Field(max_length=7), duration("1s", "24h")] = Field(
        default="2m", description="A worker goes when it was not needed for that long."
    )
    scale_to_zero_after: Annotated[str, Field(max_length=7), duration("1s", "168h")] = Field(
        default="30m", description="The last worker goes when it was not needed for that long; with minReplicas 0."
    )
    mode: Literal["Auto", "Advisory"] = Field(
        default="Auto", description="Advisory: only status tells what would be done; the workers stay as they are."
    )

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        BOUNDS_RULE.check(self)
        return self
