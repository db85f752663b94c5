"""What the keys file says about a tenant beside its keys. Every rule has a default, so a tenant needs no entry."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from videofleet.queue import TenantLimits
from videofleet_gateway.prompts.review import PromptPolicy


class Moderation(StrEnum):
    """What counts where the installation has a moderation hook."""

    OFF = "off"  # it is not asked
    OPEN = "open"  # what it does not answer passes
    CLOSED = "closed"  # what it does not answer is refused for the moment


class TenantRules(BaseModel):
    """One tenant's rules."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True, extra="forbid", frozen=True
    )

    moderation: Moderation = Moderation.CLOSED
    prompt_policy: PromptPolicy = PromptPolicy.ADVISE
    blocked_terms: Annotated[
        tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=100)], ...],
        Field(max_length=10_000),
    ] = ()
    max_queued_jobs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # waiting, over all fleets
    max_unfinished_jobs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # waiting or running, over all fleets
    max_running_jobs: Annotated[int, Field(ge=1, le=1_000_000)] | None = (
        None  # in each fleet, from the next submission on
    )
    worker_seconds_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None  # UTC; over all fleets
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # of each gateway replica

    @property
    def limits(self) -> TenantLimits:
        """Those that the queue holds it to."""
        return TenantLimits(
            self.max_queued_jobs, self.max_unfinished_jobs, self.worker_seconds_per_day, self.max_running_jobs
        )
