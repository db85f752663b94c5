"""`spec` of a VideoGenerator as a whole; its fields stand in `sections`, each written there and nowhere else.

A field exists only together with its behaviour. Parsing refuses whatever the CRD refuses; it ignores
unknown fields, which a newer CRD may have let in.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from videofleet.architectures import CONSTANTS
from videofleet.tiers import Tier
from videofleet_operator.crd.rules import VALIDATIONS, Rule, quoted
from videofleet_operator.crd.sections.fallback import MAX_TIER_RULE, Fallback
from videofleet_operator.crd.sections.model import Model
from videofleet_operator.crd.sections.output import Output
from videofleet_operator.crd.sections.queue import Access, Queue
from videofleet_operator.crd.sections.rollout import Rollout
from videofleet_operator.crd.sections.scaling import Scaling
from videofleet_operator.crd.sections.tiers import TierSpec, Warmup
from videofleet_operator.crd.sections.worker import Worker
from videofleet_operator.crd.tier_rules import TIER_RULES
from videofleet_operator.crd.values import SpecModel

REVISION_FIELDS: Final[dict[str, bool | dict[str, bool]]] = {
    "model": True,
    "worker": True,
    "tiers": True,
    "warmup": True,
    "output": {"store": True, "watermark": True, "signing_secret": True},
}
"""What a revision is made of, in pydantic's `include` form; a change of anything else restarts no worker."""

_EMPTY: Final[dict[str, Any]] = {"default": {}}  # the API server fills in the defaults inside


_RULES: Final = (*TIER_RULES, MAX_TIER_RULE)


class SpecError(ValueError):
    """The spec cannot be acted on: one line a fault, each with its path."""


class VideoGeneratorSpec(SpecModel):
    """A fleet of workers that serve one model."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(rule.as_validation()) for rule in _RULES]})

    model: Model = Field(description="Which weights to serve.")
    worker: Worker = Field(default=Worker(), description="The pods that generate.", json_schema_extra=_EMPTY)
    tiers: list[TierSpec] = Field(
        min_length=1,
        max_length=8,
        description="Quality ladder, best first; the first is the default.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    warmup: Warmup = Field(default=Warmup(), description="Proof before service.", json_schema_extra=_EMPTY)
    rollout: Rollout = Field(default=Rollout(), description="How a new revision takes over.", json_schema_extra=_EMPTY)
    queue: Queue = Field(default=Queue(), description="Limits of the queue.", json_schema_extra=_EMPTY)
    access: Access = Field(default=Access(), description="Who may submit.", json_schema_extra=_EMPTY)
    output: Output = Field(description="Where videos go.")
    scaling: Scaling = Field(default=Scaling(), description="How many workers.", json_schema_extra=_EMPTY)
    fallback: Fallback = Field(default=Fallback(), description="Lower tiers under load.", json_schema_extra=_EMPTY)

    @model_validator(mode="after")
    def _tiers_fit(self) -> Self:
        for rule in _RULES:
            rule.check(self)
        return self

    def resolved_tiers(self) -> list[Tier]:
        """The tiers as the rest of the system spells them, fps filled in."""
        fps = CONSTANTS[self.model.architecture].fps
        return [Tier(**{**tier.model_dump(), "fps": tier.fps or fps}) for tier in self.tiers]


def parse_spec(spec: Any) -> VideoGeneratorSpec:
    """The typed spec. Raises: SpecError."""
    if not isinstance(spec, Mapping):
        raise SpecError("spec: must be an object")
    try:
        return VideoGeneratorSpec.model_validate_json(json.dumps(spec))
    except ValidationError as error:
        raise SpecError("\n".join(_fault(fault) for fault in error.errors(include_url=False))) from error
    except (TypeError, ValueError) as error:
        raise SpecError("spec: must be JSON") from error


def _fault(fault: Any) -> str:
    path = ".".join(["spec", *(str(part) for part in fault["loc"])])
    return f"{path}: {fault['msg'].removeprefix('Value error, ')}"


NAME_PATTERN: Final = "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
NAME_RULE: Final = Rule(
    f"self.metadata.name.matches({quoted(NAME_PATTERN)})",
    "metadata.name must be at most 40 lower-case letters, digits and `-`, beginning with a letter, so"
    " that the names"
    " of its children are valid",
    lambda name: re.fullmatch(NAME_PATTERN, name) is not None,
)
"""The one rule over metadata: children's names add a hash, and the Service's must be a DNS label."""
