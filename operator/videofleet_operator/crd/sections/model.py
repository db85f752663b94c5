"""`spec.model`: which weights a fleet serves."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from videofleet.architectures import Architecture
from videofleet.workerspec import Dtype
from videofleet_operator.crd.rules import VALIDATIONS
from videofleet_operator.crd.source import MODEL_RULES, CommitText, SourceText
from videofleet_operator.crd.values import Label, SpecModel


class Model(SpecModel):
    """Which weights to serve."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(rule.as_validation()) for rule in MODEL_RULES]})

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

    @model_validator(mode="after")
    def _source_fits(self) -> Self:
        for rule in MODEL_RULES:
            rule.check(self)
        return self
