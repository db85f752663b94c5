"""The plan against what torch really allocates, and the arithmetic at the sizes of the real models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from videofleet.architectures import Architecture
from videofleet.tiers import Tier
from videofleet.workerspec import WorkerSpec
from videofleet_worker.compute.decode import decoded_frames
from videofleet_worker.compute.loading import DTYPES, load
from videofleet_worker.memory import GIB, decode_bytes, denoise_bytes, latent_shape, weight_bytes
from videofleet_worker.memory_plan import ModelSizes

A14B = {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40}
TI2V_5B = {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 30}
VAE_A14B = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
VAE_A14B |= {"temperal_downsample": [False, True, True]}
VAE_5B = VAE_A14B | {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "patch_size": 2}
VAE_5B |= {"scale_factor_spatial": 16}


def tier(width: int, height: int, frames: int) -> Tier:
    return Tier(name=f"{height}p", width=width, height=height, num_frames=frames, num_inference_steps=40, fps=16)


P720, P480, P704 = tier(1280, 720, 81), tier(832, 480, 81), tier(1280, 704, 121)


@pytest.mark.parametrize(("vae", "of", "shape"), [(VAE_A14B, P720, (21, 90, 160)), (VAE_5B, P704, (31, 44, 80))])
def test_latents_of_the_real_tiers(vae: Any, of: Tier, shape: tuple[int, int, int]) -> None:
    assert latent_shape(vae, of) == shape


@pytest.mark.parametrize(
    ("activations", "gib"),
    [
        (denoise_bytes(A14B, VAE_A14B, P720, timestep_per_token=False), 8.02),
        (denoise_bytes(A14B, VAE_A14B, P480, timestep_per_token=False), 3.48),
        (denoise_bytes(TI2V_5B, VAE_5B, P704, timestep_per_token=True), 5.08),
        (decode_bytes(VAE_A14B, P720), 17.14),
        (decode_bytes(VAE_A14B, P480), 7.43),
        (decode_bytes(VAE_5B, P704), 17.03),
    ],
    ids=["A14B 720p", "A14B 480p", "5B 704p", "decode A14B 720p", "decode A14B 480p", "decode 5B 704p"],
)
def test_activations_of_the_real_models(activations: int, gib: float) -> None:
    assert activations / GIB == pytest.approx(gib, rel=0.01)


@pytest.mark.parametrize(("config", "channels", "gib"), [(A14B, 16, 26.6), (TI2V_5B, 48, 9.3)], ids=["A14B", "5B"])
def test_weights_of_the_real_experts(config: dict[str, int], channels: int, gib: float) -> None:
    with torch.device("meta"):
        model = WanTransformer3DModel(in_channels=channels, out_channels=channels, **config)
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    assert weight_bytes("transformer", shapes) / GIB == pytest.approx(gib, rel=0.01)


@pytest.mark.parametrize("architecture", Architecture)
def test_weights_are_predicted_to_the_byte(
    architecture: Architecture, models: dict[Architecture, Path], spec_with: Callable[..., WorkerSpec]
) -> None:
    for dtype in DTYPES:
        pipe = load(models[architecture], spec_with(architecture=architecture, dtype=dtype))
        sizes = ModelSizes.of(models[architecture])
        predicted = {"text_encoder": sizes.text_encoder, "vae": sizes.vae}
        predicted |= {name: expert.whole for name, expert in sizes.experts.items()}
        for component, size in predicted.items():
            parameters = list(getattr(pipe, component).parameters())
            assert size == sum(each.numel() * each.element_size() for each in parameters), component


def allocated_peak(work: Callable[[], Any]) -> int:
    """Bytes in use at most, by torch's own records."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = work()
    records = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_use = peak = 0
    for record in sorted(records, key=lambda event: event.start_ns()):
        in_use += record.nbytes()
        peak = max(peak, in_use)
    del result
    return peak


@pytest.mark.parametrize("per_token", [False, True], ids=["A14B", "TI2V-5B"])
@pytest.mark.parametrize("ffn_dim", [1382, 2390])
def test_denoising_takes_what_is_predicted(per_token: bool, ffn_dim: int) -> None:
    config = {"num_attention_heads": 8, "attention_head_dim": 64, "ffn_dim": ffn_dim}
    model = WanTransformer3DModel(
        **config, in_channels=16, out_channels=16, text_dim=64, freq_dim=64, num_layers=2, cross_attn_norm=True
    )
    for name, parameter in model.named_parameters():
        if weight_bytes("transformer", {name: [1]}) == 2:
            parameter.data = parameter.data.to(torch.bfloat16)
    shape = tier(512, 512, 9)
    frames, height, width = latent_shape(VAE_A14B, shape)
    tokens = frames * height * width // 4
    timestep = torch.full((1, tokens), 500.0) if per_token else torch.tensor([500.0])
    inputs = torch.randn(1, 16, frames, height, width).to(torch.bfloat16), timestep, torch.randn(1, 512, 64).bfloat16()
    with torch.no_grad():
        measured = allocated_peak(lambda: model(*inputs, return_dict=False))
    assert denoise_bytes(config, VAE_A14B, shape, timestep_per_token=per_token) == pytest.approx(measured, rel=0.1)


def test_decoding_takes_what_is_predicted() -> None:
    config = VAE_A14B | {"base_dim": 16}
    vae = AutoencoderKLWan(**config).eval()
    latents = torch.randn(1, 16, 2, 32, 32)

    def decode() -> None:
        for _ in decoded_frames(vae, latents):
            pass

    assert decode_bytes(config, tier(256, 256, 5)) == pytest.approx(allocated_peak(decode), rel=0.1)
