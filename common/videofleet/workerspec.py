"""The resolved spec of one revision, as the operator writes it into a ConfigMap and the worker reads it.

Immutable: another spec is another revision. Paths and credentials are not in it; they come as arguments and mounted
Secrets.
"""

from enum import StrEnum
from typing import Final

from pydantic import Field

from videofleet.architectures import Architecture
from videofleet.tiers import Tier
from videofleet.wire import Wire


class Dtype(StrEnum):
    """Of the experts; the text encoder is bfloat16 and the VAE float32 always."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Offload(StrEnum):
    """What of the weights waits in host memory until its turn."""

    NONE = "none"
    MODEL = "model"  # text encoder, each expert and VAE take turns
    GROUP = "group"  # also the blocks of an expert do


class Attention(StrEnum):
    """What computes attention."""

    NATIVE = "native"  # torch
    AUTO = "auto"  # the fastest that is installed and as exact


class Speed(StrEnum):
    """How many of the steps are computed in full."""

    EXACT = "exact"  # all
    BALANCED = "balanced"  # those in which something changes
    TURBO = "turbo"  # one of three


class DtypeFallback(StrEnum):
    """What to load again in when the experts' dtype does not hold the model."""

    BFLOAT16 = "bfloat16"
    NONE = "none"


LOADING_TIMEOUT_S: Final = 3600


class Warmup(Wire):
    """When a tier counts as warm: seconds per step of two runs in a row agree."""

    max_runs: int
    stable_within: float  # ratio, 0.05 = 5 %
    timeout_s: float
    loading_timeout_s: float = Field(default=LOADING_TIMEOUT_S, exclude_if=lambda value: value == LOADING_TIMEOUT_S)


class Guidance(Wire):
    """What a request that says nothing gets; None: the pipeline's default, and for low noise as for high noise."""

    high_noise: float | None = None
    low_noise: float | None = None


class Parallelism(Wire):
    """How the ranks of a worker share one video; rank = branch × ulysses + part."""

    cfg: int = 1  # 2: the branches of classifier-free guidance on different ranks
    ulysses: int = 1  # ranks that share the tokens of one branch
    shard_weights: bool = False  # each rank keeps only its part of every expert

    @property
    def ranks(self) -> int:
        """Compute processes of the worker: one a GPU, or so many on the CPU."""
        return self.cfg * self.ulysses


class Decode(Wire):
    """Decoders beside the workers of a revision: pods that make frames of latents, and files of frames."""

    replicas: int  # at most; never more than the revision has workers
    gpus: int = 0  # of a decoder; 0: the CPU


def _is_default(value: object) -> bool:
    return value in (Guidance(), Parallelism(), Offload.NONE, Speed.EXACT, Attention.NATIVE)


class WorkerSpec(Wire):
    """Everything that makes one revision differ from another, as far as the worker acts on it.

    A field that a later version adds is not written at its default: the files of older revisions never change.
    """

    v: int = 1
    revision: str
    architecture: Architecture
    dtype: Dtype
    guidance: Guidance = Field(default=Guidance(), exclude_if=_is_default)
    speed: Speed = Field(default=Speed.EXACT, exclude_if=_is_default)
    attention: Attention = Field(default=Attention.NATIVE, exclude_if=_is_default)
    dtype_fallback: DtypeFallback = Field(
        default=DtypeFallback.BFLOAT16, exclude_if=lambda value: value == DtypeFallback.BFLOAT16
    )
    gpus: int  # 0: CPU
    parallelism: Parallelism = Field(default=Parallelism(), exclude_if=_is_default)
    offload: Offload = Field(default=Offload.NONE, exclude_if=_is_default)
    decode: Decode | None = Field(default=None, exclude_if=lambda value: value is None)  # None: a worker does it all
    tiers: list[Tier]
    warmup: Warmup
    store: str  # name of the object store results go to
    watermark: str | None = None  # line of text in every frame
