"""The shapes of the real models, as their repositories state them, and of tiny ones; and empty folders of the former.

A folder made here has every header and no weight: files of the right length that take no room on the disk, for
`videofleet-worker plan` and nothing else.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from videofleet.architectures import Architecture

A14B, TI2V_5B = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B
COMMON: Final = {"patch_size": (1, 2, 2), "freq_dim": 256, "cross_attn_norm": True, "text_dim": 4096}
UMT5_XXL: Final = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
VAE: Final = {"num_res_blocks": 2, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}


@dataclass(frozen=True)
class Shape:
    """One architecture at one size."""

    transformer: dict[str, Any]
    vae: dict[str, Any]
    flow_shift: float


REAL: Final = {
    A14B: Shape(
        COMMON
        | {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40}
        | {"in_channels": 16, "out_channels": 16},
        VAE | {"base_dim": 96, "z_dim": 16},
        flow_shift=12.0,
    ),
    TI2V_5B: Shape(
        COMMON
        | {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 30}
        | {"in_channels": 48, "out_channels": 48},
        VAE
        | {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "patch_size": 2}
        | {"in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
        | {"latents_mean": [0.0] * 48, "latents_std": [1.0] * 48},
        flow_shift=5.0,
    ),
}
TINY_TRANSFORMER: Final = {"num_attention_heads": 4, "attention_head_dim": 12, "ffn_dim": 64, "num_layers": 2}
TINY_VAE: Final = {"base_dim": 8, "num_res_blocks": 1, "dim_mult": [1, 1, 1, 1]}
TINY: Final = {
    architecture: Shape(
        shape.transformer | TINY_TRANSFORMER | {"text_dim": 16, "freq_dim": 64},
        shape.vae | TINY_VAE | ({"decoder_base_dim": 8} if architecture is TI2V_5B else {}),
        shape.flow_shift,
    )
    for architecture, shape in REAL.items()
}


def write_empty_model(folder: Path, architecture: Architecture) -> None:
    """Headers and configs of the real model; its weights are holes."""
    shape, two = REAL[architecture], architecture is A14B
    with torch.device("meta"):
        expert = WanTransformer3DModel(**shape.transformer)
        models = {"transformer": expert} | ({"transformer_2": expert} if two else {})
        models |= {"vae": AutoencoderKLWan(**shape.vae), "text_encoder": UMT5EncoderModel(UMT5Config(**UMT5_XXL))}
    index: dict[str, Any] = {"_class_name": "WanPipeline", "boundary_ratio": 0.875 if two else None}
    index |= {"expand_timesteps": not two, "transformer_2": [None, None]}
    for name in ("scheduler", "tokenizer", *models):
        index[name] = ["diffusers", name]
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        config = model.config.to_dict() if name == "text_encoder" else dict(model.config)
        (folder / name / "config.json").write_text(json.dumps(config, default=str))
        _write_header(folder / name / "model.safetensors", model)
    (folder / "model_index.json").write_text(json.dumps(index))


def _write_header(path: Path, model: torch.nn.Module) -> None:
    header, offset = {}, 0
    for name, tensor in model.named_parameters():
        end = offset + 2 * math.prod(tensor.shape)
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    content = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        os.truncate(file.fileno(), 8 + len(content) + offset)
