"""What a model will need of its device, known before a weight is read: safetensors headers, configs and tiers. Pure.

    peak = weights + largest over tiers of max(denoising, decoding), and 10 % headroom over it

Denoising, one expert on N = latent frames × height/2 × width/2 tokens of width d, 16-bit activations. The largest of
three moments of `WanTransformerBlock.forward` (read from diffusers 0.42), plus rotary tables and 512 text tokens:
    residual    22·d       hidden states, their float32 copy, gated product and sum, attention output, normed input
    feed-forward 8·d + 4·ffn  the inner activation before and after GELU
    TI2V-5B     +38·d      one modulation vector a token: projection, float32 sum; 64·d while they are made
Decoding, one latent frame at a time in float32: two cached frames before each causal convolution, and the convolution
of the last stage (input, activation, padded copy, output; the last two twice, because the library copies them).
Source of the counts: torch's own allocation records on a CPU, which they meet within 10 %; GPUs not compared yet.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from videofleet.architectures import CONSTANTS
from videofleet.beacons import WorkerFault
from videofleet.tiers import Tier
from videofleet.workerspec import WorkerSpec
from videofleet_worker.faults import Fault
from videofleet_worker.model_folder import WEIGHTS, tensors_in

HEADROOM: Final = 0.1
GIB: Final = 1 << 30
TEXT_TOKENS: Final = 512
# WanTransformer3DModel._keep_in_fp32_modules, matched as diffusers does: by a part of the tensor's name.
FLOAT32_PARTS: Final = frozenset({"rope", "time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"})

Config = Mapping[str, Any]
Shapes = Mapping[str, list[int]]


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by component, and bytes of activations by tier."""

    weights: dict[str, int]
    tiers: dict[str, int]

    @property
    def weight_bytes(self) -> int:
        """What lies on the device all the time."""
        return sum(self.weights.values())

    @property
    def peak_bytes(self) -> int:
        """The most that is in use at once, without headroom."""
        return self.weight_bytes + max(self.tiers.values())

    @property
    def needed_bytes(self) -> int:
        """What the device must have free."""
        return _with_headroom(self.peak_bytes)


def plan_memory(model: Path, spec: WorkerSpec) -> MemoryPlan:
    """Reads headers and configs of a checked folder."""
    weights = {
        component: weight_bytes(component, _shapes(model / component))
        for component in WEIGHTS
        if (model / component).is_dir()
    }
    transformer, vae = (_config(model / component) for component in ("transformer", "vae"))
    per_token = not CONSTANTS[spec.architecture].has_two_experts
    tiers = {
        tier.name: max(denoise_bytes(transformer, vae, tier, timestep_per_token=per_token), decode_bytes(vae, tier))
        for tier in spec.tiers
    }
    return MemoryPlan(weights, tiers)


def weight_bytes(component: str, shapes: Shapes) -> int:
    """Bytes once loaded: experts and text encoder at 16 bits, VAE and the parts diffusers keeps at 32."""
    is_expert, is_vae = component.startswith("transformer"), component == "vae"
    return sum(
        math.prod(shape) * (4 if is_vae or (is_expert and FLOAT32_PARTS & set(name.split("."))) else 2)
        for name, shape in shapes.items()
    )


def denoise_bytes(transformer: Config, vae: Config, tier: Tier, *, timestep_per_token: bool) -> int:
    """Activations of one forward pass of an expert."""
    frames, height, width = latent_shape(vae, tier)
    tokens = frames * (height // 2) * (width // 2)
    head = int(transformer["attention_head_dim"])
    d, ffn = int(transformer["num_attention_heads"] * head), int(transformer["ffn_dim"])
    block = max(22 * d, 8 * d + 4 * ffn)
    if timestep_per_token:
        block = max(38 * d + block, 64 * d)
    return tokens * (block + 8 * head) + TEXT_TOKENS * 6 * d


def decode_bytes(vae: Config, tier: Tier) -> int:
    """Activations and caches while one latent frame becomes four frames."""
    _, height, width = latent_shape(vae, tier)
    base = int(vae.get("decoder_base_dim") or vae["base_dim"])
    dims: list[int] = [base * times for times in (vae["dim_mult"][-1], *reversed(vae["dim_mult"]))]
    convolutions = 2 * (int(vae["num_res_blocks"]) + 1)
    area = height * width
    cached = area * (int(vae["z_dim"]) + 4 * dims[0])  # conv_in, and two residual blocks in the middle
    wide, out = dims[0], dims[0]
    for stage in range(len(dims) - 1):
        if stage:
            area *= 4
        wide, out = dims[stage], dims[stage + 1]
        if stage and not vae.get("is_residual", False):
            wide //= 2
        cached += area * (wide + (convolutions - 1) * out)
    cached += area * out  # conv_out
    frames: int = 1 << sum(vae["temperal_downsample"])
    moment = frames * (2 * wide + 2 * out) + 2 * (frames + 2) * wide + (frames * out if wide != out else 0)
    return 4 * (2 * cached + area * moment)


def latent_shape(vae: Config, tier: Tier) -> tuple[int, int, int]:
    """Frames, height and width of the latents: 1280×720×81 on A14B → (21, 90, 160)."""
    spatial, temporal = vae.get("scale_factor_spatial") or 8, vae.get("scale_factor_temporal") or 4
    return (tier.num_frames - 1) // temporal + 1, tier.height // spatial, tier.width // spatial


def refuse_what_cannot_fit(plan: MemoryPlan, free_bytes: int) -> None:
    """Raises: Fault with OutOfMemory, saying which tier would fit, or how much memory would do."""
    if plan.needed_bytes <= free_bytes:
        return
    fitting = [name for name, each in plan.tiers.items() if _with_headroom(plan.weight_bytes + each) <= free_bytes]
    largest = max(plan.tiers, key=lambda name: plan.tiers[name])
    advice = f"tier {fitting[0]} would fit" if fitting else "none of its tiers would fit"
    raise Fault(
        WorkerFault.OUT_OF_MEMORY,
        f"tier {largest} needs {_gib(plan.needed_bytes)} (weights {_gib(plan.weight_bytes)}, "
        f"activations {_gib(plan.tiers[largest])}, headroom {HEADROOM:.0%}) and the device has {_gib(free_bytes)} "
        f"free; {advice}: use a GPU with at least {_gib(plan.needed_bytes)}, or smaller spec.tiers",
    )


def _with_headroom(size_bytes: int) -> int:
    return round(size_bytes * (1 + HEADROOM))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"


def _shapes(folder: Path) -> dict[str, list[int]]:
    return {name: entry["shape"] for shard in folder.glob("*.safetensors") for name, entry in tensors_in(shard).items()}


def _config(folder: Path) -> Config:
    content: Config = json.loads((folder / "config.json").read_bytes())
    return content
