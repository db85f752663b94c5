"""`spec.queue` and `spec.access`: how much may wait, and for whom."""

from typing import Annotated

from pydantic import Field

from videofleet_operator.crd.rules import duration
from videofleet_operator.crd.values import Label, SpecModel


class Queue(SpecModel):
    """Limits of the fleet's queue."""

    max_depth: int = Field(default=1000, ge=1, le=1_000_000, description="Waiting jobs; more are refused with 429.")
    max_attempts: int = Field(default=3, ge=1, le=20, description="Attempts of a job before it is dead.")
    batch_max_wait: Annotated[str, Field(max_length=7), duration("1s", "168h")] = Field(
        default="1h", description="Jobs of priority `batch` that waited longer go before all others."
    )
    weights: dict[str, Annotated[int, Field(ge=1, le=1000)]] | None = Field(
        default=None,
        max_length=64,
        description="Tenants' shares of the worker seconds inside a priority; 1 for those not named.",
    )


class Access(SpecModel):
    """Who may use the fleet's GPUs."""

    tenants: list[Label] | None = Field(
        default=None,
        max_length=64,
        description="Tenants that may submit; everyone with a key when not given.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
