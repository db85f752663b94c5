"""Builds a tiny Wan2.2-shaped model directory with random weights, through the real diffusers classes.

    python models/build_tiny.py build/models/tiny-a14b [--architecture wan2.2-t2v-a14b]

Owns the shape of the tiny model and nothing else: what it writes is a model directory like any other. Invariant:
two builds are byte-identical, and a folder appears whole or not at all, because its readers map the weights into
memory. The libraries are imported where they are used: they take seconds, and mostly there is nothing to build.
"""

import argparse
import os
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any, Final

from videofleet.architectures import Architecture

SEED: Final = 0
TEXT_WIDTH: Final = 16
VAE_WIDTH: Final = 8  # narrower ones amplify rounding: their channel norm runs over too few channels
WORDS: Final = ("a", "the", "of", "in", "on", "at", "cat", "dog", "car", "red", "blue", "sea", "city", "night", "sun")
SPACE: Final = "\u2581"  # sentencepiece's mark for the beginning of a word


def main() -> None:
    """Builds the folder unless it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the model directory to make")
    parser.add_argument("--architecture", type=Architecture, default=Architecture.WAN22_T2V_A14B)
    arguments = parser.parse_args()
    if (arguments.out / "model_index.json").is_file():
        print(f"{arguments.out} is there already; remove it to build it again")
        return
    build(arguments.out, arguments.architecture)
    size_bytes = sum(file.stat().st_size for file in arguments.out.rglob("*") if file.is_file())
    print(f"{arguments.out}: {arguments.architecture}, {size_bytes / 1e6:.2f} MB of random weights")


def build(out: Path, architecture: Architecture) -> None:
    """Writes the model into a temporary neighbour, then renames it to `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        pipeline(architecture).save_pretrained(folder, safe_serialization=True)
        make_readable(folder)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_readable(folder: Path) -> None:
    """save_pretrained leaves weights at mode 0600; a worker runs as another user."""
    folder.chmod(0o755)
    for root, folders, files in os.walk(folder):
        for name in folders:
            Path(root, name).chmod(0o755)
        for name in files:
            Path(root, name).chmod(0o644)


def pipeline(architecture: Architecture) -> Any:
    """The whole pipeline with random weights, the same ones each time."""
    import torch
    from diffusers import UniPCMultistepScheduler, WanPipeline

    torch.manual_seed(SEED)
    two_experts = architecture is Architecture.WAN22_T2V_A14B
    channels = 16 if two_experts else 48
    tokens = tokenizer()
    return WanPipeline(
        tokenizer=tokens,
        text_encoder=text_encoder(len(tokens)),
        vae=vae_8x8() if two_experts else vae_16x16(),
        transformer=transformer(channels),
        transformer_2=transformer(channels) if two_experts else None,
        boundary_ratio=0.875 if two_experts else None,
        expand_timesteps=not two_experts,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            num_train_timesteps=1000,
            flow_shift=3.0 if two_experts else 5.0,
        ),
    )


def tokenizer() -> Any:
    """A unigram tokenizer over printable characters and a few words; needs no training."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (SPACE, -2.0)]
    pieces += [(character, -4.0) for character in string.printable[:94]]
    pieces += [(SPACE + word, -3.0) for word in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def text_encoder(vocabulary: int) -> Any:
    """One UMT5 layer."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config).eval()


def transformer(channels: int) -> Any:
    """Two blocks of four heads, so that two and four ranks divide them."""
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=64,
        num_layers=2,
        cross_attn_norm=True,
        rope_max_seq_len=1024,
    ).eval()


def vae_8x8() -> Any:
    """The VAE shape of A14B: 16 channels, 8×8×4 compression."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=VAE_WIDTH,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    ).eval()


def vae_16x16() -> Any:
    """The VAE shape of TI2V-5B: 48 channels, 16×16×4 compression, residual, pixels patched by two."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=VAE_WIDTH,
        decoder_base_dim=VAE_WIDTH,
        z_dim=48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    ).eval()


if __name__ == "__main__":
    main()
