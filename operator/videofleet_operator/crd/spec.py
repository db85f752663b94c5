"""`spec` of a VideoGenerator, field by field: type, bounds, default and meaning, each written here and
nowhere else.

A field exists only together with its behaviour. Parsing refuses whatever the CRD refuses; it ignores
unknown fields, which a newer CRD may have let in.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype
from videofleet_operator.crd.quantities import QUANTITY_PATTERN
from videofleet_operator.crd.rules import VALIDATIONS, Rule, duration, matches, percent, quoted
from videofleet_operator.crd.source import SourceText
from videofleet_operator.crd.tier_rules import TIER_RULES

REVISION_FIELDS: Final[dict[str, bool | dict[str, bool]]] = {
    "model": True,
    "worker": True,
    "tiers": True,
    "warmup": True,
    "output": {"store": True},
}
"""What a revision is made of, in pydantic's `include` form; a change of anything else restarts no worker."""

_EMPTY: Final[dict[str, Any]] = {"default": {}}  # the API server fills in the defaults inside
_FPS: Final = ", ".join(f"{name} {constants.fps}" for name, constants in CONSTANTS.items())
_LABEL: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class SpecError(ValueError):
    """The spec cannot be acted on: one line a fault, each with its path."""


class SpecModel(BaseModel):
    """A frozen part of the spec: snake_case in Python, camelCase in manifests."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


Label = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(_LABEL, "must be lower-case letters, digits and `-`, and begin and end with a letter or digit"),
]
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Field(max_length=20, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
        }
    ),
]


class Model(SpecModel):
    """Which weights to serve."""

    architecture: Architecture = Field(
        description=("Family of the checkpoint, for rules; checked against the weights at load.")
    )
    source: SourceText = Field(
        description="Folder of a diffusers pipeline: `file:///PATH` in the worker image, or `pvc://CLAIM/PATH`"
        " on a PersistentVolumeClaim of the same namespace."
    )
    dtype: Dtype = Field(
        default=Dtype.FLOAT16, description="Of the experts. Text encoder bfloat16 and VAE float32 always."
    )


class ResourceList(SpecModel):
    """Amounts for one worker. GPUs come from `worker.gpus`."""

    cpu: Quantity | None = Field(default=None, description="Cores, e.g. `4` or `500m`.")
    memory: Quantity | None = Field(default=None, description="Bytes, e.g. `64Gi`.")
    ephemeral_storage: Quantity | None = Field(
        default=None, alias="ephemeral-storage", description="Bytes of scratch space, e.g. `20Gi`."
    )


class Resources(SpecModel):
    """As in a container."""

    requests: ResourceList | None = Field(default=None, description="What the scheduler reserves.")
    limits: ResourceList | None = Field(default=None, description="What the container may not exceed.")


class Toleration(SpecModel):
    """As in a pod."""

    key: str | None = Field(default=None, max_length=317, description="Taint key; all keys when not given.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="How value compares.")
    value: str | None = Field(default=None, max_length=63, description="Taint value for `Equal`.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all effects when not given."
    )
    toleration_seconds: int | None = Field(default=None, ge=0, le=86400, description="For `NoExecute`: how long.")


class Worker(SpecModel):
    """The pods that generate: an allow-list of settings."""

    gpus: int = Field(default=1, ge=0, le=1, description="GPUs of a worker; 0 computes on the CPU.")
    gpu_resource: Annotated[
        str,
        Field(max_length=253),
        matches(
            "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
            "gpuResource must be DOMAIN/NAME of an extended resource, such as nvidia.com/gpu",
        ),
    ] = Field(default="nvidia.com/gpu", description="Extended resource that stands for a GPU on the nodes.")
    image: Annotated[str, Field(min_length=1, max_length=512, pattern="^[!-~]+$")] | None = Field(
        default=None,
        description="Worker image; the installation's when not given, as it was when the revision was made.",
    )
    resources: Resources | None = Field(default=None, description="CPU, memory and scratch of a worker.")
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=16, description="Labels a node must have."
    )
    tolerations: list[Toleration] | None = Field(default=None, max_length=16, description="Taints a worker accepts.")
    termination_grace_period: Annotated[str, Field(max_length=7), duration("10s", "24h")] = Field(
        default="30m", description="How long a stopping worker may go on with its running job."
    )


class TierSpec(SpecModel):
    """One rung of the quality ladder. No field has a default, so that a repeated apply finds no change."""

    name: Label = Field(description="What requests and status call it; unique.")
    width: int = Field(ge=16, le=4096, description="Pixels.")
    height: int = Field(ge=16, le=4096, description="Pixels.")
    num_frames: int = Field(ge=1, le=1025, description="Frames of the video.")
    num_inference_steps: int = Field(ge=1, le=200, description="Denoising steps.")
    fps: int | None = Field(
        default=None, ge=1, le=60, description=f"Frames a second; the architecture's when not given: {_FPS}."
    )

    @property
    def cost(self) -> int:
        """Relative work, as `videofleet.tiers.Tier.cost`."""
        return self.width * self.height * self.num_frames * self.num_inference_steps


class Warmup(SpecModel):
    """When a worker counts as warm: seconds per step of two runs in a row agree, for every tier."""

    max_runs: int = Field(default=4, ge=1, le=20, description="Most runs of one tier.")
    stable_within: Annotated[str, Field(max_length=5), percent()] = Field(
        default="5%", description="How far the seconds per step of two runs in a row may differ."
    )
    timeout: Annotated[str, Field(max_length=7), duration("10s", "6h")] = Field(
        default="30m", description="Longest warm-up; after it the worker fails as `WarmupTimeout`."
    )


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


class Output(SpecModel):
    """Where videos go."""

    store: Label = Field(description="Name of an object store of the installation.")
    prefix: Annotated[
        str,
        Field(max_length=128),
        matches(
            "^([A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?$",
            "prefix must be a relative path of letters, digits, `.`, `_` and `-`, without a leading or"
            " trailing `/`"
            " and with no part beginning with `.`",
        ),
    ] = Field(default="", description="Folder in the store.")


class Scaling(SpecModel):
    """How many workers."""

    min_replicas: int = Field(
        default=0, ge=0, le=1000, description="Workers wanted; one at least, until scaling exists."
    )


class VideoGeneratorSpec(SpecModel):
    """A fleet of workers that serve one model."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(rule.as_validation()) for rule in TIER_RULES]})

    model: Model = Field(description="Which weights to serve.")
    worker: Worker = Field(default=Worker(), description="The pods that generate.", json_schema_extra=_EMPTY)
    tiers: list[TierSpec] = Field(
        min_length=1,
        max_length=8,
        description="Quality ladder, best first; the first is the default.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    warmup: Warmup = Field(default=Warmup(), description="Proof before service.", json_schema_extra=_EMPTY)
    queue: Queue = Field(default=Queue(), description="Limits of the queue.", json_schema_extra=_EMPTY)
    access: Access = Field(default=Access(), description="Who may submit.", json_schema_extra=_EMPTY)
    output: Output = Field(description="Where videos go.")
    scaling: Scaling = Field(default=Scaling(), description="How many workers.", json_schema_extra=_EMPTY)

    @model_validator(mode="after")
    def _tiers_fit(self) -> Self:
        for rule in TIER_RULES:
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
