"""What a model's weights and activations take, known before a weight is read: shapes, configs and tiers. Pure.

Denoising, one expert on N = latent frames × height/2 × width/2 tokens of width d, 16-bit activations. The largest of
three moments of `WanTransformerBlock.forward` (read from diffusers 0.42), plus rotary tables and 512 text tokens:
    residual    22·d       hidden states, their float32 copy, gated product and sum, attention output, normed input
    feed-forward 8·d + 4·ffn  the inner activation before and after GELU
    TI2V-5B     +38·d      one modulation vector a token: projection, float32 sum; 64·d while they are made
    step cache  +6·d       a branch, `speed: balanced` only: the first block's output and change, the others' change
Decoding, one latent frame at a time in float32: two cached frames before each causal convolution, and the convolution
of the last stage (input, activation, padded copy, output; the last two twice, because the library copies them).
Source of the counts: torch's own allocation records on a CPU, which they meet within 10 %; GPUs not compared yet.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from videofleet.tiers import Tier

GIB: Final = 1 << 30
TEXT_TOKENS: Final = 512
# WanTransformer3DModel._keep_in_fp32_modules, matched as diffusers does: by a part of the tensor's name.
FLOAT32_PARTS: Final = frozenset({"rope", "time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"})

Config = Mapping[str, Any]
Shapes = Mapping[str, list[int]]


@dataclass(frozen=True)
class ExpertBytes:
    """One expert's weights once loaded. `block` is what its largest block has at 16 bits, `outside` what none has."""

    whole: int
    float32: int
    block: int
    outside: int


def weight_bytes(component: str, shapes: Shapes) -> int:
    """Bytes once loaded: experts and text encoder at 16 bits, VAE and the parts diffusers keeps at 32."""
    is_expert, is_vae = component.startswith("transformer"), component == "vae"
    return sum(
        math.prod(shape) * (4 if is_vae or (is_expert and FLOAT32_PARTS & set(name.split("."))) else 2)
        for name, shape in shapes.items()
    )


def expert_bytes(component: str, shapes: Shapes) -> ExpertBytes:
    """How an expert's weights fall apart when they are sharded or offloaded."""
    blocks: dict[str, int] = {}
    float32 = 0
    for name, shape in shapes.items():
        size = weight_bytes(component, {name: shape})
        if size == 4 * math.prod(shape):
            float32 += size
        else:
            place = ".".join(name.split(".")[:2]) if name.startswith("blocks.") else ""
            blocks[place] = blocks.get(place, 0) + size
    outside = blocks.pop("", 0)
    return ExpertBytes(float32 + outside + sum(blocks.values()), float32, max(blocks.values(), default=0), outside)


def denoise_bytes(
    transformer: Config,
    vae: Config,
    tier: Tier,
    *,
    timestep_per_token: bool,
    ulysses: int = 1,
    cached_branches: int = 0,
) -> int:
    """Activations of one forward pass of an expert on one of the ranks that share its tokens."""
    frames, height, width = latent_shape(vae, tier)
    tokens = frames * (height // 2) * (width // 2)
    head = int(transformer["attention_head_dim"])
    d, ffn = int(transformer["num_attention_heads"] * head), int(transformer["ffn_dim"])
    block = max(22 * d, 8 * d + 4 * ffn)
    if timestep_per_token:
        block = max(38 * d + block, 64 * d)
    before_the_split = 2 * d if ulysses > 1 else 0
    block += 6 * d * cached_branches
    return tokens * (before_the_split + 8 * head) + tokens // ulysses * block + TEXT_TOKENS * 6 * d


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
