"""`spec.model`: which weights a fleet serves."""

from pydantic import Field

from videofleet.architectures import Architecture
from videofleet.workerspec import Dtype
from videofleet_operator.crd.source import SourceText
from videofleet_operator.crd.values import SpecModel


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
