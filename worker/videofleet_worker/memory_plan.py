"""Whether a model, its tiers and its layout fit a device, known before a weight is read; and if not, what would.

    peak of a tier = max(weights on the device while denoising + activations, the same while decoding)

on rank 0, which has the most: text encoder and VAE lie with it alone. 10 % headroom over it.
    sharded     experts at 16 bits divided by the ranks; three blocks gathered, and of each expert what is in no block
    offload     model: text encoder, each expert and VAE take turns; group: of an expert two blocks at a time
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from videofleet.architectures import CONSTANTS
from videofleet.beacons import WorkerFault
from videofleet.tiers import Tier, tier_faults
from videofleet.workerspec import Offload, Parallelism, Speed, WorkerSpec
from videofleet_worker.faults import Fault
from videofleet_worker.memory import (
    GIB,
    Config,
    ExpertBytes,
    Shapes,
    decode_bytes,
    denoise_bytes,
    expert_bytes,
    weight_bytes,
)
from videofleet_worker.model_folder import tensors_in

HEADROOM: Final = 0.1
EXPERTS: Final = ("transformer", "transformer_2")
GATHERED_BLOCKS: Final = 3  # the one at work, the next one, and the buffer they come in
GROUPS: Final = 2  # the block at work and the next one


@dataclass(frozen=True)
class ModelSizes:
    """What a model folder says of itself."""

    text_encoder: int
    vae: int
    experts: dict[str, ExpertBytes]
    transformer_config: Config
    vae_config: Config

    @classmethod
    def of(cls, model: Path) -> "ModelSizes":
        """Reads headers and configs of a checked folder."""
        experts = {name: expert_bytes(name, _shapes(model / name)) for name in EXPERTS if (model / name).is_dir()}
        return cls(
            text_encoder=weight_bytes("text_encoder", _shapes(model / "text_encoder")),
            vae=weight_bytes("vae", _shapes(model / "vae")),
            experts=experts,
            transformer_config=_config(model / "transformer"),
            vae_config=_config(model / "vae"),
        )


@dataclass(frozen=True)
class Need:
    """Bytes of rank 0's device at a tier's worst moment."""

    stage: str  # denoising | decoding
    weights: int
    activations: int

    @property
    def peak_bytes(self) -> int:
        """In use at once."""
        return self.weights + self.activations

    @property
    def needed_bytes(self) -> int:
        """What the device must have free: the peak and headroom."""
        return round(self.peak_bytes * (1 + HEADROOM))


def plan_memory(sizes: ModelSizes, spec: WorkerSpec) -> dict[str, Need]:
    """Each tier's need, by its name."""
    return {tier.name: tier_need(sizes, spec, tier) for tier in spec.tiers}


def largest(plan: dict[str, Need]) -> tuple[str, Need]:
    """The tier that needs most."""
    return max(plan.items(), key=lambda item: item[1].peak_bytes)


def refuse_what_cannot_fit(sizes: ModelSizes, spec: WorkerSpec, free_bytes: int) -> None:
    """Raises: Fault with OutOfMemory, saying what would fit."""
    name, need = largest(plan_memory(sizes, spec))
    if need.needed_bytes <= free_bytes:
        return
    fitting = (words for words, other in _alternatives(spec) if _fits(sizes, other, free_bytes))
    advice = next(fitting, f"a GPU with at least {gib(need.needed_bytes)}")
    raise Fault(
        WorkerFault.OUT_OF_MEMORY,
        f"tier {name} needs {gib(need.needed_bytes)} while {need.stage} (weights {gib(need.weights)}, activations "
        f"{gib(need.activations)}, headroom {HEADROOM:.0%}) and the device has {gib(free_bytes)} free; "
        f"this would fit: {advice}",
    )


def gib(size_bytes: int) -> str:
    """For people."""
    return f"{size_bytes / GIB:.1f} GiB"


def tier_need(sizes: ModelSizes, spec: WorkerSpec, tier: Tier, jobs: int = 1) -> Need:
    """Of so many jobs of one tier that denoise together; they are decoded one after the other."""
    per_token = not CONSTANTS[spec.architecture].has_two_experts
    denoising = denoise_bytes(
        sizes.transformer_config,
        sizes.vae_config,
        tier,
        timestep_per_token=per_token,
        ulysses=spec.parallelism.ulysses,
        cached_branches=2 // spec.parallelism.cfg if spec.speed is Speed.BALANCED else 0,
    )
    while_denoising, while_decoding = _resident(sizes, spec)
    needs = [
        Need("denoising", while_denoising, jobs * denoising),
        Need("decoding", while_decoding, decode_bytes(sizes.vae_config, tier)),
        Need("encoding the prompt", sizes.text_encoder, 0),
    ]
    return max(needs, key=lambda need: need.peak_bytes)


def _resident(sizes: ModelSizes, spec: WorkerSpec) -> tuple[int, int]:
    """Weights on rank 0's device while denoising, and while decoding."""
    experts = list(sizes.experts.values())
    match spec.offload:
        case Offload.MODEL:
            return max(expert.whole for expert in experts), sizes.vae
        case Offload.GROUP:
            return max(expert.outside + expert.float32 + GROUPS * expert.block for expert in experts), sizes.vae
    if spec.parallelism.shard_weights:
        parts = sum(e.float32 + (e.whole - e.float32) // spec.parallelism.ranks + e.outside for e in experts)
        everything = sizes.text_encoder + sizes.vae + parts
        return everything + GATHERED_BLOCKS * max(expert.block for expert in experts), everything
    everything = sizes.text_encoder + sizes.vae + sum(expert.whole for expert in experts)
    return everything, everything


def _fits(sizes: ModelSizes, spec: WorkerSpec, free_bytes: int) -> bool:
    return largest(plan_memory(sizes, spec))[1].needed_bytes <= free_bytes


def _alternatives(spec: WorkerSpec) -> Iterator[tuple[str, WorkerSpec]]:
    """Other specs, from the least change to the largest: what it gives up is quality, then speed, then money."""
    for index in range(1, len(spec.tiers)):
        yield f"spec.tiers from {spec.tiers[index].name} down", _with(spec, tiers=spec.tiers[index:])
    if spec.parallelism.ranks > 1 and not spec.parallelism.shard_weights:
        sharded = spec.parallelism.model_copy(update={"shard_weights": True})
        yield "spec.worker.parallelism.shardWeights true", _with(spec, parallelism=sharded, offload=Offload.NONE)
    if not spec.parallelism.shard_weights:
        for offload in (Offload.MODEL, Offload.GROUP):
            yield f"spec.worker.offload {offload}", _with(spec, offload=offload)
    for ulysses in (1, 2, 4):
        parallelism = Parallelism(cfg=2, ulysses=ulysses, shard_weights=True)
        if parallelism.ranks <= spec.parallelism.ranks:
            continue
        if not any(tier_faults(tier, spec.architecture, ulysses) for tier in spec.tiers):
            words = f"spec.worker.gpus {parallelism.ranks} with cfg 2, ulysses {ulysses} and shardWeights"
            yield words, _with(spec, parallelism=parallelism, offload=Offload.NONE)


def _with(spec: WorkerSpec, **changes: object) -> WorkerSpec:
    return spec.model_copy(update=changes)


def _shapes(folder: Path) -> Shapes:
    return {name: entry["shape"] for shard in folder.glob("*.safetensors") for name, entry in tensors_in(shard).items()}


def _config(folder: Path) -> Config:
    content: Config = json.loads((folder / "config.json").read_bytes())
    return content
