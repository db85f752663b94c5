"""What the keys file says about a tenant beside its keys. Every rule has a default, so a tenant needs no entry."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from videofleet_gateway.prompts.review import PromptPolicy


class TenantRules(BaseModel):
    """One tenant's rules."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True, extra="forbid", frozen=True
    )

    prompt_policy: PromptPolicy = PromptPolicy.ADVISE
    blocked_terms: Annotated[
        tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=100)], ...],
        Field(max_length=10_000),
    ] = ()
