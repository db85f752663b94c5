"""`spec.worker`: the pods that generate, an allow-list of settings."""

from typing import Annotated, Literal

from pydantic import Field

from videofleet_operator.crd.rules import duration, matches
from videofleet_operator.crd.values import Label, Quantity, SpecModel


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


class WeightCache(SpecModel):
    """A volume that keeps fetched weights for every worker that mounts it."""

    persistent_volume_claim: Label = Field(
        description="Claim of the namespace, ReadWriteMany unless there is one worker; its file system knows flock."
    )
    max_size: Quantity | None = Field(
        default=None,
        description="Bytes to keep there; beyond it, or when the volume is full, what was used least recently goes.",
    )


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
    weight_cache: WeightCache | None = Field(
        default=None,
        description="Where workers keep what they fetch; without it each pod fetches `hf://` and `s3://` anew.",
    )
    termination_grace_period: Annotated[str, Field(max_length=7), duration("10s", "24h")] = Field(
        default="30m", description="How long a stopping worker may go on with its running job."
    )
