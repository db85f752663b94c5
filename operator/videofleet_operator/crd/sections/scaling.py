"""`spec.scaling`: how many workers, between which bounds, and how patiently."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from videofleet_operator.crd.rules import VALIDATIONS, Rule, duration, matches
from videofleet_operator.crd.values import SpecModel

BOUNDS_RULE = Rule(
    "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "minReplicas must not be greater than maxReplicas",
    lambda scaling: scaling.max_replicas is None or scaling.min_replicas <= scaling.max_replicas,
)


Clock = Annotated[
    str,
    Field(max_length=5),
    matches("^([01][0-9]|2[0-3]):[0-5][0-9]$", "must be a time of the day in UTC, such as 08:30"),
]
WINDOW_RULE = Rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "minReplicas of a window must not be greater than its maxReplicas",
    lambda window: (
        window.min_replicas is None or window.max_replicas is None or window.min_replicas <= window.max_replicas
    ),
)


class Window(SpecModel):
    """Other bounds at certain hours."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(WINDOW_RULE.as_validation())]})

    days: list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]] | None = Field(
        default=None,
        max_length=7,
        description="Days it begins on; every day if not given.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    start: Clock = Field(description="When it begins, UTC.")
    end: Clock = Field(description="When it ends, UTC; not after `start`: on the next day.")
    min_replicas: int | None = Field(default=None, ge=0, le=1000, description="minReplicas meanwhile.")
    max_replicas: int | None = Field(default=None, ge=1, le=1000, description="maxReplicas meanwhile.")

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        WINDOW_RULE.check(self)
        return self


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

    schedule: list[Window] = Field(
        default=[],
        max_length=16,
        description="Other bounds at certain hours; the last window that is open counts.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        BOUNDS_RULE.check(self)
        return self
