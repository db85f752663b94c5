"""What a layout takes of a GPU, at the sizes of the real models, and what is advised when it is too much."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel

from videofleet.architectures import Architecture
from videofleet.beacons import WorkerFault
from videofleet.tiers import Tier
from videofleet.workerspec import Offload, Parallelism, WorkerSpec
from videofleet_worker import plan
from videofleet_worker.faults import Fault
from videofleet_worker.memory import GIB, expert_bytes
from videofleet_worker.memory_plan import ModelSizes, largest, plan_memory, refuse_what_cannot_fit, tier_need

A14B = {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40}
VAE_A14B = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
VAE_A14B |= {"temperal_downsample": [False, True, True]}
SpecWith = Callable[..., WorkerSpec]


def tier(name: str, width: int, height: int) -> Tier:
    return Tier(name=name, width=width, height=height, num_frames=81, num_inference_steps=40, fps=16)


TIERS = [tier("720p", 1280, 720), tier("480p", 832, 480)]


@cache
def a14b() -> ModelSizes:
    with torch.device("meta"):
        model = WanTransformer3DModel(in_channels=16, out_channels=16, text_dim=4096, **A14B)
    expert = expert_bytes("transformer", {name: list(tensor.shape) for name, tensor in model.named_parameters()})
    experts = {"transformer": expert, "transformer_2": expert}
    return ModelSizes(round(10.6 * GIB), round(0.5 * GIB), experts, A14B, VAE_A14B)


def test_the_parts_of_an_expert_are_the_whole() -> None:
    expert = a14b().experts["transformer"]
    assert expert.whole == expert.float32 + expert.outside + 40 * expert.block
    assert expert.float32 < 0.01 * expert.whole


@pytest.mark.parametrize(
    ("parallelism", "offload", "stage", "gib"),
    [
        ({}, "none", "decoding", 81.4),
        ({"cfg": 2, "ulysses": 4}, "none", "decoding", 81.4),
        ({"cfg": 2, "shard_weights": True}, "none", "decoding", 55.9),
        ({"cfg": 2, "ulysses": 2, "shard_weights": True}, "none", "decoding", 42.8),
        ({}, "model", "denoising", 34.6),
        ({}, "group", "decoding", 17.6),
    ],
)
def test_what_720p_needs_by_layout(
    parallelism: dict[str, Any], offload: str, stage: str, gib: float, spec_with: SpecWith
) -> None:
    spec = spec_with(tiers=TIERS, parallelism=Parallelism(**parallelism), offload=Offload(offload))
    name, need = largest(plan_memory(a14b(), spec))
    assert (name, need.stage) == ("720p", stage)
    assert need.peak_bytes / GIB == pytest.approx(gib, abs=0.5)


@pytest.mark.parametrize(
    ("free_gib", "gpus", "words"),
    [
        (80, 1, "spec.tiers from 480p down"),
        (64, 2, "spec.worker.parallelism.shardWeights true"),
        (48, 1, "spec.worker.offload model"),
        (24, 1, "spec.worker.offload group"),
        (10, 1, "a GPU with at least 89.7 GiB"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(free_gib: int, gpus: int, words: str, spec_with: SpecWith) -> None:
    spec = spec_with(tiers=TIERS, parallelism=Parallelism(cfg=gpus))
    with pytest.raises(Fault) as caught:
        refuse_what_cannot_fit(a14b(), spec, free_gib * GIB)
    assert caught.value.reason is WorkerFault.OUT_OF_MEMORY
    assert "tier 720p needs 89" in caught.value.message
    assert f"this would fit: {words}" in caught.value.message


def test_what_fits_is_let_through(spec_with: SpecWith) -> None:
    spec = spec_with(tiers=TIERS)
    _, need = largest(plan_memory(a14b(), spec))
    refuse_what_cannot_fit(a14b(), spec, need.needed_bytes)
    assert need.needed_bytes == round(1.1 * need.peak_bytes)


def test_the_command_prints_what_each_layout_needs(models: dict[Architecture, Path], capsys: Any) -> None:
    model = str(models[Architecture.WAN22_T2V_A14B])
    assert plan.main([model, "--architecture=wan2.2-t2v-a14b", "--tier=832x480x81", "--tier=64x64x9"]) == 0
    head, _, alone, *others = capsys.readouterr().out.splitlines()
    assert head == "| gpus | cfg × ulysses | weights | 832x480x81 | 64x64x9 |"
    assert alone.startswith("| 1 | 1 × 1 | whole | 0.")
    assert others[-1].startswith("| 8 | 2 × 4 | offload group | ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--architecture=wan2.2-ti2v-5b", "--tier=64x64x9"], "wan2.2-ti2v-5b has 1 expert(s), this model 2"),
        (["--architecture=wan2.2-t2v-a14b", "--tier=720p"], "must be WIDTHxHEIGHTxFRAMES"),
        (["--architecture=wan2.2-t2v-a14b", "--tier=64x64x8"], "numFrames 8 must be"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], words: str, models: dict[Architecture, Path], capsys: Any
) -> None:
    assert plan.main([str(models[Architecture.WAN22_T2V_A14B]), *arguments]) == 1
    assert words in capsys.readouterr().out


def test_jobs_that_denoise_together_need_their_activations_together(spec_with: SpecWith) -> None:
    spec = spec_with(tiers=[TIERS[-1]])
    alone, together = (tier_need(a14b(), spec, spec.tiers[0], jobs) for jobs in (1, 16))
    assert together.stage == "denoising"
    assert together.weights == alone.weights
    assert together.activations > alone.activations
