"""`spec.model`: which weights a fleet serves."""

from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.workerspec import Attention, Dtype, DtypeFallback, Speed
from videofleet_operator.crd.rules import VALIDATIONS, Rule, matches
from videofleet_operator.crd.source import MODEL_RULES, CommitText, SourceText
from videofleet_operator.crd.values import Label, SpecModel

Scale = Annotated[
    str,
    Field(max_length=4),
    matches(
        "^([1-9](\\.[0-9])?|1[0-9](\\.[0-9])?|20)$", "must be a number from 1 to 20 with at most one decimal: '3.5'"
    ),
]


class Guidance(SpecModel):
    """How closely requests that do not say so follow the prompt; at '1' half of the work is saved."""

    high_noise: Scale | None = Field(
        default=None,
        description="`guidance_scale` of requests that give none, for the first expert or the only one; '5' when not"
        " given.",
    )
    low_noise: Scale | None = Field(
        default=None, description="`guidance_scale_2` of requests that give neither; as high noise when not given."
    )


LOW_NOISE_NEEDS_TWO: Final = Rule(
    f"self.architecture == '{Architecture.WAN22_T2V_A14B}' || !has(self.guidance.lowNoise)",
    "guidance.lowNoise is of the second expert, which only wan2.2-t2v-a14b has; use guidance.highNoise",
    lambda model: CONSTANTS[model.architecture].has_two_experts or model.guidance.low_noise is None,
    ".guidance",
)
_RULES: Final = (*MODEL_RULES, LOW_NOISE_NEEDS_TWO)


class Model(SpecModel):
    """Which weights to serve."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(rule.as_validation()) for rule in _RULES]})

    architecture: Architecture = Field(
        description=("Family of the checkpoint, for rules; checked against the weights at load.")
    )
    source: SourceText = Field(
        description="Folder of a diffusers pipeline: `hf://ORG/NAME` on the hub, `s3://BUCKET/PATH`, `pvc://CLAIM/PATH`"
        " on a PersistentVolumeClaim of the same namespace, or `file:///PATH` in the worker image."
    )
    revision: CommitText | None = Field(
        default=None, description="Commit of a `hf://` source, 40 hex digits; required there."
    )
    secret: Label | None = Field(
        default=None,
        description="Secret of the namespace that opens the source: `token` for `hf://`, obstore's options for"
        " `s3://`. None: an open source, or the pod's own identity.",
    )
    dtype: Dtype = Field(
        default=Dtype.FLOAT16, description="Of the experts. Text encoder bfloat16 and VAE float32 always."
    )
    guidance: Guidance = Field(
        default=Guidance(),
        description="How closely requests that do not say so follow the prompt.",
        json_schema_extra={"default": {}},
    )
    speed: Speed = Field(
        default=Speed.EXACT,
        description="`exact` computes every step. `balanced` skips most of a step in which little changes (First Block"
        " Cache), `turbo` extrapolates two steps of three (TaylorSeer): faster, and another video.",
    )
    attention: Attention = Field(
        default=Attention.NATIVE,
        description="What computes attention: `native` is torch, `auto` the fastest of cuDNN, FlashAttention 2 and 3"
        " and SageAttention that is installed and as exact.",
    )
    dtype_fallback: DtypeFallback = Field(
        default=DtypeFallback.BFLOAT16,
        description="What to load again in when warm-up is not finite in `dtype`; `none`: fail as `NotFinite`.",
    )

    @model_validator(mode="after")
    def _source_fits(self) -> Self:
        for rule in _RULES:
            rule.check(self)
        return self
