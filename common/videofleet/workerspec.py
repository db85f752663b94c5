"""The resolved spec of one revision, as the operator writes it into a ConfigMap and the worker reads it.

Immutable: another spec is another revision. Paths and credentials are not in it; they come as arguments and mounted
Secrets.
"""

from enum import StrEnum

from videofleet.architectures import Architecture
from videofleet.tiers import Tier
from videofleet.wire import Wire


class Dtype(StrEnum):
    """Of the experts; the text encoder is bfloat16 and the VAE float32 always."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Warmup(Wire):
    """When a tier counts as warm: seconds per step of two runs in a row agree."""

    max_runs: int
    stable_within: float  # ratio, 0.05 = 5 %
    timeout_s: float


class WorkerSpec(Wire):
    """Everything that makes one revision differ from another, as far as the worker acts on it."""

    v: int = 1
    revision: str
    architecture: Architecture
    dtype: Dtype
    gpus: int  # 0: CPU
    tiers: list[Tier]
    warmup: Warmup
    store: str  # name of the object store results go to
