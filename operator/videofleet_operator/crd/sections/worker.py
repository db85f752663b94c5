"""`spec.worker`: the pods that generate, an allow-list of settings."""

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from videofleet.workerspec import Offload
from videofleet_operator.crd.rules import VALIDATIONS, Rule, duration, matches
from videofleet_operator.crd.values import Label, Quantity, SpecModel

MOST_GPUS: Final = 8  # of one node; ranks of one worker share a machine


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


class Parallelism(SpecModel):
    """How the ranks of a worker share one video."""

    cfg: int = Field(
        default=1, ge=1, le=2, description="2: the two branches of classifier-free guidance on different ranks."
    )
    ulysses: int = Field(default=1, ge=1, le=MOST_GPUS, description="Ranks that share the tokens of one branch.")
    shard_weights: bool = Field(default=False, description="Each rank keeps only its part of every expert (FSDP2).")

    @property
    def ranks(self) -> int:
        """Compute processes of a worker."""
        return self.cfg * self.ulysses


RANKS_ARE_GPUS: Final = Rule(
    "self.gpus == 0 || self.parallelism.cfg * self.parallelism.ulysses == self.gpus",
    "parallelism.cfg × parallelism.ulysses must be gpus: for gpus 4 e.g. cfg 2 and ulysses 2; with gpus 0 they are"
    " processes on the CPU",
    lambda worker: worker.gpus in (0, worker.parallelism.ranks),
    ".parallelism",
)
SHARDS_NEED_RANKS: Final = Rule(
    "!self.parallelism.shardWeights || self.parallelism.cfg * self.parallelism.ulysses > 1",
    "parallelism.shardWeights needs ranks to share the weights: set cfg or ulysses above 1, or leave it out",
    lambda worker: not worker.parallelism.shard_weights or worker.parallelism.ranks > 1,
    ".parallelism",
)
SHARDS_OR_OFFLOAD: Final = Rule(
    "!self.parallelism.shardWeights || self.offload == 'none'",
    "offload keeps weights in host memory, parallelism.shardWeights spreads them over the GPUs; choose one",
    lambda worker: not worker.parallelism.shard_weights or worker.offload is Offload.NONE,
    ".offload",
)
_RULES: Final = (RANKS_ARE_GPUS, SHARDS_NEED_RANKS, SHARDS_OR_OFFLOAD)


class WeightCache(SpecModel):
    """A volume that keeps fetched weights for every worker that mounts it."""

    persistent_volume_claim: Label = Field(
        description="Claim of the namespace, ReadWriteMany unless there is one worker; its file system knows flock."
    )
    max_size: Quantity | None = Field(
        default=None,
        description="Bytes to keep there; beyond it, or when the volume is full, what was used least recently goes.",
    )


class Decode(SpecModel):
    """Pods that decode, check, encode and store what workers have denoised."""

    replicas: int = Field(default=1, ge=1, le=64, description="Decoders of a revision; never more than it has workers.")
    gpus: int | None = Field(
        default=None,
        ge=0,
        le=1,
        description="GPUs of a decoder; one where workers have GPUs. 0 decodes on the CPU, whose pictures may differ"
        " from a GPU's in the last bits.",
    )
    resources: Resources | None = Field(default=None, description="CPU, memory and scratch of a decoder.")


class Worker(SpecModel):
    """The pods that generate: an allow-list of settings."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [dict(rule.as_validation()) for rule in _RULES]})

    gpus: int = Field(default=1, ge=0, le=MOST_GPUS, description="GPUs of a worker; 0 computes on the CPU.")
    parallelism: Parallelism = Field(
        default=Parallelism(),
        description="How its GPUs share one video; see docs/how-to/parallelism.md.",
        json_schema_extra={"default": {}},
    )
    offload: Offload = Field(
        default=Offload.NONE,
        description="Weights that wait in host memory: `model`: text encoder, each expert and VAE take turns on the"
        " GPU; `group`: the blocks of an expert do, too.",
    )
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
    decode: Decode | None = Field(
        default=None,
        description="Decoders beside the workers, whose GPUs go on with the next job; without them a worker decodes"
        " itself, as it does while none is ready.",
    )
    weight_cache: WeightCache | None = Field(
        default=None,
        description="Where workers keep what they fetch; without it each pod fetches `hf://` and `s3://` anew.",
    )
    termination_grace_period: Annotated[str, Field(max_length=7), duration("10s", "24h")] = Field(
        default="30m", description="How long a stopping worker may go on with its running job."
    )

    @model_validator(mode="after")
    def _ranks_fit(self) -> Self:
        for rule in _RULES:
            rule.check(self)
        return self
